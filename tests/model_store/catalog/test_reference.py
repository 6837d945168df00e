from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_store.catalog.label_watch import LabelWatch
from model_store.catalog.labels import LabelTarget, set_label
from model_store.catalog.reference import Reference, Resolved, parse_reference, resolve
from model_store.errors import NotFoundError, UsageError
from model_store.store.remote import Remote
from model_store.transfer.publish import Published, publish
from tests.model_store.conftest import Store
from tests.model_store.samples import write_version


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("xception", Reference("xception", "stable")),
        ("xception:3", Reference("xception", 3)),
        ("Xc.ep_t-1:canary", Reference("Xc.ep_t-1", "canary")),
        (f"xception:sha256:{10:064x}", Reference("xception", f"sha256:{10:064x}")),
        ("xception:sha256", Reference("xception", "sha256")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a:", "a:0", "a:03", "a:b:c", "../a", "a/b", ".a", "a:-1", "a:٣", "a\n", "a" * 129),
        *("a:sha256:", "a:sha256:12", f"a:sha256:{10:064X}", f"a:sha256:{10:064x}0", f"a:sha512:{10:064x}"),
    ],
)
def test_references_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_resolves_labels_and_numbers(store: Store, small: Path) -> None:
    remote = store.open()
    published = publish(small, remote, "xception", labels=["stable"])
    assert resolve(remote, "xception") == Resolved("xception", 1, published.digest, "stable")
    by_number = Resolved("xception", 1, published.digest, None)
    assert resolve(remote, "xception", 1) == resolve(remote, "xception", "1") == by_number


def test_errors_list_what_there_is(store: Store, small: Path) -> None:
    remote = store.open()
    publish(small, remote, "xception", labels=["stable", "canary"])
    publish(small, remote, "other")
    with pytest.raises(NotFoundError, match="model 'xception' has no label 'beta'; it has: canary, stable"):
        resolve(remote, "xception", "beta")
    with pytest.raises(NotFoundError, match="model 'xception' has no version 7; it has: 1"):
        resolve(remote, "xception", 7)
    with pytest.raises(NotFoundError, match="model 'other' has no labels; name a version: 1"):
        resolve(remote, "other")
    for selector in ("stable", 1):
        with pytest.raises(NotFoundError, match="holds no model 'third'; it holds: other, xception"):
            resolve(remote, "third", selector)


def publish_three(store: Store, root: Path) -> list[Published]:
    """Different versions; `stable` went from the first to the second, the third never had a label."""
    remote = store.open()
    folders = [write_version(root / f"v{n}", {"saved_model.pb": bytes([n])}) for n in range(3)]
    labelled = [publish(folder, remote, "xception", labels=["stable"]) for folder in folders[:2]]
    return [*labelled, publish(folders[2], remote, "xception")]


@pytest.fixture
def web(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """The store as a plain web server shows it: it can be read, and not be listed."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root = file_store.url.removeprefix("file://")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Remote.open(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_resolves_digests(store: Store, tmp_path: Path) -> None:
    published = publish_three(store, tmp_path)
    for one in published:
        assert resolve(store.open(), "xception", one.digest) == Resolved("xception", one.version, one.digest, None)
    unknown = f"sha256:{1:064x}"
    there = ", ".join(rf"{one.version} \({one.digest[:19]}…\)" for one in published)
    with pytest.raises(NotFoundError, match=f"has no version with the manifest {unknown}; it has: {there}"):
        resolve(store.open(), "xception", unknown)
    with pytest.raises(NotFoundError, match="holds no model 'third'; it holds: xception"):
        resolve(store.open(), "third", unknown)


def test_a_digest_that_was_published_twice_is_the_labelled_one(store: Store, small: Path) -> None:
    remote = store.open()
    done = publish(small, remote, "xception", labels=["stable"])
    publish(small, remote, "xception")
    assert resolve(remote, "xception", done.digest).version == 1


def test_a_digest_whose_labelled_version_is_gone_is_looked_for_elsewhere(store: Store, small: Path) -> None:
    remote = store.open()
    done = publish(small, remote, "xception", labels=["stable"])
    publish(small, remote, "xception")
    set_label(remote, "xception", "stable", LabelTarget(version=3, manifest=f"sha256:{3:064x}"))
    remote.delete(["xception/1/manifest.json"])
    assert resolve(remote, "xception", done.digest).version == 2


def test_a_web_server_is_not_listed(file_store: Store, web: Remote, tmp_path: Path) -> None:
    one, two, three = publish_three(file_store, tmp_path)
    assert resolve(web, "xception").version == two.version
    assert resolve(web, "xception", 3).manifest_digest == three.digest
    assert resolve(web, "xception", two.digest).version == 2
    assert resolve(web, "xception", one.digest).version == 1  # the label stood there once
    cases = [
        ("xception", "beta", "model 'xception' has no label 'beta'; it has: stable"),
        ("xception", 9, "model 'xception' has no version 9$"),
        ("other", 1, "model 'other' has no version 1$"),
        ("other", "stable", "model 'other' has no labels$"),
        ("xception", three.digest, f"no label of model 'xception' ever pointed to {three.digest}, and .*listed"),
    ]
    for model, selector, says in cases:
        with pytest.raises(NotFoundError, match=says):
            resolve(web, model, selector)


def test_labels_are_watched_on_a_web_server(file_store: Store, web: Remote) -> None:
    watch = LabelWatch(web, "xception")
    assert watch.poll() is None
    for version in (1, 2):
        target = LabelTarget(version=version, manifest=f"sha256:{version:064x}")
        assert set_label(file_store.open(), "xception", "stable", target) == watch.poll()
        assert watch.poll() is None
