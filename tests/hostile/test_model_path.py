"""What lies in a store is written by others: whatever it is, readers refuse it in words, and write nowhere else."""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.catalog.history import read_history
from model_store.catalog.label_watch import LabelWatch
from model_store.catalog.labels import MAX_RECORD_BYTES, LabelRecord, read_labels
from model_store.catalog.names import check_label_name, check_model_name
from model_store.catalog.prune import plan_prune
from model_store.catalog.reference import Resolved, parse_reference, resolve
from model_store.catalog.versions import MAX_CLAIM_BYTES, claim_path, list_versions, missing_targets, read_claim
from model_store.errors import StoreError
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import check_remote, pull, pull_to_folder
from model_store.trust.manifest import Manifest, digest_of
from model_store.trust.signing import Signer, Trust, signed_digest
from model_store.trust.verify import verify_folder
from tests.model_store.keys import trust_of, write_key
from tests.model_store.samples import write_version

from .documents import Sound, hostile_texts
from .images import SEED

MODEL = "xception"

NAMES = [
    "..",
    ".",
    "",
    "/",
    "../x",
    "../../../../tmp/x",
    "a/../../x",
    "/etc/passwd",
    "//x",
    "a//b",
    "./a",
    "a/.",
    "a/..",
    "~/x",
    "..\\x",
    "C:\\x",
    "C:x",
    "a\0b",
    "a\nb",
    "a\x1b[2J",
    "\u202ea",
    "..\uff0fx",
    "%2e%2e/x",
    "x" * 300,
    "x" * 600,
    "é" * 200,
    "a/" * 200 + "x",
    "manifest.json",
    "MANIFEST.JSON",
    "model.sig",
    "Model.SIG/x",
    "labels.json",
    "CON",
    "a b ",
    " ",
    "*",
    "a?b",
    "a|b",
    "saved_model.pb/x",
    "variables",
    "variables/x/y",
    ".parts",
    ".incoming/x",
    "-rf",
    "\ud800",
    "漢字",
    "a:b",
]
"""Of files, models or labels, none of which may lead out of a folder."""

T = TypeVar("T")


@dataclass(frozen=True)
class Mutant:
    name: str
    data: bytes


@dataclass(frozen=True)
class Stored:
    """A store with two signed versions and a third that was begun, and who signed them."""

    folder: Path
    remote: Remote
    trust: Trust

    def file(self, path: str) -> Path:
        return self.folder / MODEL / path


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # Nothing here asks the internet.
    folder = tmp_path / "store"
    remote = Remote.open(f"file://{folder}", publishing=True)
    key = write_key(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))
    for label in ("stable", "canary"):
        version = write_version(tmp_path / label, {"saved_model.pb": label.encode()})
        publish(version, remote, MODEL, labels=[label], note="first", signer=Signer.from_file(key))
    (folder / MODEL / "3").mkdir()
    (folder / MODEL / "3" / "saved_model.pb").write_bytes(b"begun")
    (folder / claim_path(MODEL, 3)).write_bytes((folder / claim_path(MODEL, 2)).read_bytes())
    return Stored(folder, remote, trust_of(key))


def mutants(data: bytes, texts: int, seed: int = SEED) -> Iterator[Mutant]:
    """Yield a few hundred variants of a file of JSON, always the same."""
    draw = random.Random(seed)
    every = list(hostile_texts(Sound(json.loads(data), frozenset())))
    for text in draw.sample(every, texts):
        yield Mutant(text.name, text.body)
    for number in range(100):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        yield Mutant(f"other bits {number}", bytes(changed))
    for number in range(50):
        begin, end = sorted(draw.sample(range(len(data)), 2))
        yield Mutant(f"a gap {number}", data[:begin] + data[end:])
        yield Mutant(f"a part twice {number}", data[:end] + data[begin:])


def refused_or(mutant: str, action: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
    """Return what an action gives, or None where it refuses in words that can be sent on."""
    try:
        return action(*arguments, **options)
    except StoreError as error:
        refusal = str(error)
    except Exception as error:
        raise AssertionError(f"{mutant}: {error!r}") from error
    assert refusal, mutant
    refusal.encode()
    return None


def test_manifests(stored: Stored, tmp_path: Path) -> None:
    remote, good = stored.remote, stored.file("1/manifest.json").read_bytes()
    local = tmp_path / "stable" / "manifest.json"
    target = tmp_path / "target"
    target.mkdir()
    before, read = listed(tmp_path, target, stored.folder), 0
    for number, mutant in enumerate([*named_files(good), *mutants(good, 300)]):
        local.write_bytes(mutant.data)
        refused_or(mutant.name, verify_folder, local.parent)
        manifest = refused_or(mutant.name, Manifest.parse, mutant.data)
        if manifest is None:
            continue
        read += 1
        home, cache = target / f"home {number}", Cache(target / f"cache {number}")
        for file in manifest.files:
            assert (home / file.path).resolve().is_relative_to(home), mutant.name
            if not file.size:  # So that a hostile name is not only looked for, but written to.
                refused_or(mutant.name, remote.put_overwrite, f"{MODEL}/1/{file.path}", b"")
        assert refused_or(mutant.name, Manifest.parse, manifest.to_bytes()) == manifest, mutant.name
        stored.file("1/manifest.json").write_bytes(mutant.data)
        resolved = Resolved(MODEL, 1, digest_of(mutant.data))
        refused_or(mutant.name, pull, remote, resolved, cache)
        refused_or(mutant.name, pull_to_folder, remote, resolved, home)
        refused_or(mutant.name, check_remote, remote, resolved)
        refused_or(mutant.name, list_versions, remote, MODEL)
        trusting = Cache(target / "trusting")
        assert mutant.data == good or not refused_or(mutant.name, pull, remote, resolved, trusting, trust=stored.trust)
    assert listed(tmp_path, target, stored.folder) == before
    assert read > 20  # Not all was refused by the parser alone.


def listed(folder: Path, *but: Path) -> set[Path]:
    """Return all that lies below a folder, but not below some others."""
    return {path for path in folder.rglob("*") if not any(path.is_relative_to(other) for other in but)}


def named_files(manifest: bytes) -> Iterator[Mutant]:
    """Yield manifests whose files, variants and golden images have hostile names and sizes."""
    for name in NAMES:
        for where in ("variables/empty", "golden/pixels.npy", "openvino/fp32 é.xml"):
            text = json.dumps(json.loads(manifest), ensure_ascii=False).replace(f'"{where}"', json.dumps(name))
            yield Mutant(f"{name!r} for {where}", text.encode())
    for size in (-1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, 1.5, 1e300, None, "1"):
        document = json.loads(manifest)
        document["files"][0]["size"] = size
        yield Mutant(f"a size of {size}", json.dumps(document).encode())


def test_records_of_labels(stored: Stored) -> None:
    record = stored.file("labels/000002.json")
    good = record.read_bytes()
    for mutant in [*hostile_labels(good), *mutants(good, 200)]:
        record.write_bytes(mutant.data)
        read_all(stored, mutant)


def test_the_copy_of_the_labels_never_matters(stored: Stored) -> None:
    copy = stored.file("labels.json")
    good, truth = copy.read_bytes(), read_labels(stored.remote, MODEL)
    for mutant in [*hostile_labels(good), *mutants(good, 200)]:
        if len(mutant.data) <= MAX_RECORD_BYTES:
            copy.write_bytes(mutant.data)
            assert refused_or(mutant.name, read_labels, stored.remote, MODEL) == truth, mutant.name
            assert refused_or(mutant.name, LabelWatch(stored.remote, MODEL).poll) == truth, mutant.name


def read_all(stored: Stored, mutant: Mutant) -> LabelRecord | None:
    """Have everything read that depends on labels, and return the newest record."""
    remote, name = stored.remote, mutant.name
    for selector in ("stable", "canary", f"sha256:{1:064x}"):
        refused_or(name, resolve, remote, MODEL, selector)
    infos = refused_or(name, list_versions, remote, MODEL) or []
    refused_or(name, missing_targets, remote, MODEL, infos)
    refused_or(name, read_history, remote, MODEL)
    refused_or(name, LabelWatch(remote, MODEL).poll)
    refused_or(name, plan_prune, remote, MODEL, 1)
    return refused_or(name, read_labels, remote, MODEL)


def hostile_labels(record: bytes) -> Iterator[Mutant]:
    """Yield records with hostile names, versions and numbers."""
    for name in NAMES:
        document = json.loads(record)
        document["labels"][name] = document["labels"]["stable"]
        yield Mutant(f"the label {name!r}", json.dumps(document).encode())
        document = json.loads(record)
        document["labels"]["stable"]["manifest"] = name
        yield Mutant(f"the digest {name!r}", json.dumps(document).encode())
    for number in (-1, 0, 900, 10**9, 2**31, 2**63, 2**64, 10**30, 10**250, 10**400, 1e300, 1.5, True, None, "1", [1]):
        document = json.loads(record)
        document["labels"]["stable"]["version"] = number
        yield Mutant(f"version {number}", json.dumps(document).encode())
        yield Mutant(f"number {number}", json.dumps({**json.loads(record), "sequence": number}).encode())
        yield Mutant(f"pruned {number}", json.dumps({**json.loads(record), "pruned": [number]}).encode())


def test_claims(stored: Stored, tmp_path: Path) -> None:
    claim = stored.folder / claim_path(MODEL, 3)
    good = claim.read_bytes()
    for mutant in mutants(good, 300):
        claim.write_bytes(mutant.data)
        found = refused_or(mutant.name, read_claim, stored.remote, MODEL, 3)
        assert isinstance(found, dict) or len(mutant.data) > MAX_CLAIM_BYTES
        refused_or(mutant.name, plan_prune, stored.remote, MODEL, 1)
    claim.write_bytes(b"[" * 50_000)
    for name in NAMES:
        if name.isprintable() and "/" not in name and name not in ("", ".", "..") and len(name.encode()) < 250:
            (claim.parent / name).write_bytes(b"")
    assert publish(tmp_path / "stable", stored.remote, MODEL).version == 4


def test_signatures(stored: Stored) -> None:
    manifest = stored.file("1/manifest.json").read_bytes()
    good = stored.file("1/model.sig").read_bytes()
    envelope = json.loads(good)
    payload = b64decode(envelope["dsseEnvelope"]["payload"])

    def wrapped(statement: bytes) -> bytes:
        changed = {**envelope["dsseEnvelope"], "payload": b64encode(statement).decode()}
        return json.dumps({**envelope, "dsseEnvelope": changed}).encode()

    inside = [Mutant(f"inside: {mutant.name}", wrapped(mutant.data)) for mutant in mutants(payload, 150)]
    for mutant in [*inside, *deep_signatures(good, wrapped), *mutants(good, 150)]:
        refused_or(mutant.name, signed_digest, mutant.data, "here")
        if accepts(stored.trust, manifest, mutant):
            assert b64decode(json.loads(mutant.data)["dsseEnvelope"]["payload"]) == payload, mutant.name
        assert not accepts(stored.trust, manifest + b" ", mutant), mutant.name


def accepts(trust: Trust, manifest: bytes, mutant: Mutant) -> bool:
    def check() -> bool:
        trust.check(manifest, mutant.data, "here")
        return True

    return bool(refused_or(mutant.name, check))


def deep_signatures(good: bytes, wrapped: Callable[[bytes], bytes]) -> Iterator[Mutant]:
    """Yield signatures of lists within lists, about as deep as Python can read, and of text that no answer can hold."""
    resource = b'{"predicate": {"resources": [{"name": %s, "algorithm": %s, "digest": %s}]}}'
    hint = json.dumps(json.loads(good)["verificationMaterial"]["publicKey"]["hint"]).encode()
    for depth in (500, *range(900, 1000, 3), 100_000):
        deep = b"[" * depth + b"]" * depth
        yield Mutant(f"a key {depth} deep", good.replace(hint, deep))
        for at in range(3):
            values = [b'"manifest.json"', b'"sha256"', b'"0"']
            values[at] = deep
            yield Mutant(f"a resource {depth} deep, {at}", wrapped(resource % tuple(values)))
    for text in (b'"\\ud800"', b'"\\u001b[2J"', b'"\\u0000"', b'"%s"' % (b"x" * 100_000)):
        yield Mutant(f"a key of {text[:20]!r}", good.replace(hint, text))
        yield Mutant(f"a name of {text[:20]!r}", wrapped(resource % (text, b'"sha256"', b'"0"')))
        yield Mutant(f"an algorithm of {text[:20]!r}", wrapped(resource % (b'"manifest.json"', text, b'"0"')))
        yield Mutant(f"a digest of {text[:20]!r}", wrapped(resource % (b'"manifest.json"', b'"sha256"', text)))


def test_names(stored: Stored) -> None:
    for name in NAMES:
        model = refused_or(name, check_model_name, name)
        assert model is None or "/" not in model
        refused_or(name, check_label_name, name)
        for text in (name, f"{name}:1", f"{MODEL}:{name}", f"{MODEL}:sha256:{name}", f"{MODEL}:1{name}"):
            refused_or(name, parse_reference, text)
            model, _, selector = text.partition(":")
            refused_or(name, resolve, stored.remote, model, selector or "stable")
    assert [path.name for path in stored.folder.iterdir()] == [MODEL]
