from __future__ import annotations

import io
import json
from base64 import b64decode
from collections import Counter
from pathlib import Path

from PIL import Image

from benchmarks.containers.container import MODEL, Memory
from benchmarks.containers.container_loads import Seen, Store, image_body, publish_copies
from benchmarks.containers.container_memory import HEADS, watch
from model_store.catalog.reference import resolve
from model_store.store.remote import Remote
from tests.model_store.samples import write_version


def test_versions_that_are_alike_are_versions_all_the_same(tmp_path: Path) -> None:
    remote = Remote.open(f"file://{tmp_path / 'store'}", publishing=True)
    targets = publish_copies(write_version(tmp_path / "package"), remote, 3)
    assert [target.version for target in targets] == [1, 2, 3]
    assert len({target.manifest for target in targets}) == 3


def test_a_label_is_moved(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path / 'store'}", write_version(tmp_path / "package"))
    for target in store.targets[::-1]:
        store.label(target)
        assert resolve(store.remote, MODEL, "stable").manifest_digest == target.manifest


def test_images_are_as_large_as_they_should_be() -> None:
    for kind, mode in (("PNG", "RGB"), ("JPEG", "CMYK")):
        (instance,) = json.loads(image_body(kind, mode, (65_500, 30)))["instances"]
        data = b64decode(instance["b64"])
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.mode, picture.size) == (kind, mode, (65_500, 30))
            assert picture.info.get("progressive", 0) == (kind == "JPEG")
        assert len(data) < 2**16


def test_a_row_tells_what_became_of_a_container() -> None:
    seen = Seen(
        Counter({"200": 90, "429": 3, "cut off": 1}), done=4, undone=1, own_mib=512.4, last=Memory(700.2, 380.6, 1)
    )
    assert seen.row() == "4 of 5 | 90 | 4 | 1 | 700 | 512 | 381"
    assert len(seen.row().split("|")) == len(HEADS) - 2
    assert Seen(last=Memory(1, 1, 0)).row().startswith("– | 0 | 0 | 0 | ")


async def test_a_container_that_ends_under_load_is_told_from_one_that_lost_a_process(tmp_path: Path) -> None:
    seen = Seen(last=Memory(700, 600, 0))
    await watch(tmp_path / "gone", seen)
    assert seen.row() == "– | 0 | 0 | the container | 700 | 0 | 600"
