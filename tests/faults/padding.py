"""A large file in a version that no engine reads, so that pulling the tiny model takes as long as a real one."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from model_store.trust.manifest import MANIFEST_NAME, Manifest, ManifestFile

PADDING = "openvino/padding.bin"


def add_padding(folder: Path, size: int, seed: int) -> None:
    """Add a file to a version that holds one variant.

    Args:
        folder: The version.
        size: Bytes of the file.
        seed: Of the random bytes; two versions with the same bytes would share the file in a cache.
    """
    data = random.Random(seed).randbytes(size)
    (folder / PADDING).write_bytes(data)
    manifest = Manifest.parse((folder / MANIFEST_NAME).read_bytes())
    (variant,) = manifest.variants
    file = ManifestFile(path=PADDING, size=size, sha256=hashlib.sha256(data).hexdigest())
    padded = manifest.model_copy(
        update={
            "files": (*manifest.files, file),
            "variants": (variant.model_copy(update={"files": (*variant.files, PADDING)}),),
        }
    )
    (folder / MANIFEST_NAME).write_bytes(padded.to_bytes())
