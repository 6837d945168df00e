from __future__ import annotations

from pathlib import Path

from model_store.catalog.labels import LabelTarget, set_label
from model_store.catalog.versions import list_models, list_versions, missing_targets
from model_store.transfer.publish import publish
from tests.model_store.conftest import Store
from tests.model_store.samples import FILES


def test_lists_finished_versions(store: Store, small: Path) -> None:
    remote = store.open()
    for _ in range(2):
        publish(small, remote, "xception", labels=["stable"])
    remote.put_create("xception/3/saved_model.pb", b"unfinished")
    remote.put_create("xception/4/manifest.json", b'{"format": 2}')
    remote.put_create("xception/latest/manifest.json", b"no number")
    one, two, four = list_versions(remote, "xception")
    assert (one.version, one.labels, one.accuracy) == (1, (), 0.875)
    assert (two.version, two.labels, two.size) == (2, ("stable",), sum(map(len, FILES.values())))
    assert two.created is not None
    assert four.version == 4
    assert "format 2" in (four.problem or "")
    assert list_models(remote) == ["xception"]
    assert list_versions(remote, "none") == []


def test_labels_whose_version_is_gone(store: Store, small: Path) -> None:
    remote = store.open()
    for label in ("stable", "canary"):
        publish(small, remote, "xception", labels=[label])
    infos = list_versions(remote, "xception")
    assert missing_targets(remote, "xception", infos) == {}
    publish(small, remote, "xception", labels=["new"])  # after the listing
    remote.delete(["xception/2/manifest.json"])
    infos = [info for info in infos if info.version == 1]
    assert missing_targets(remote, "xception", infos) == {"canary": 2}
    set_label(remote, "other", "stable", LabelTarget(version=1, manifest=f"sha256:{1:064x}"))
    assert missing_targets(remote, "other", list_versions(remote, "other")) == {"stable": 1}
    assert missing_targets(remote, "none", []) == {}
