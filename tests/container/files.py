"""The files of an image, as its own user sees them."""

from __future__ import annotations

import json
from typing import Any

from .podman import Podman

_WALK = """
import hashlib, json, os

def size(path):
    return None if os.path.islink(path) else os.path.getsize(path)

def content(path):
    if os.path.islink(path):
        return os.readlink(path)
    if path.endswith(".pyc"):
        return "bytecode"
    return hashlib.sha256(open(path, "rb").read()).hexdigest() if os.access(path, os.R_OK) else "unreadable"

found = {}
for root, folders, files in os.walk("/"):
    if root == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
    found.update({path: DESCRIBE(path) for path in (os.path.join(root, name) for name in files)})
print(json.dumps(found))
"""


def sizes(podman: Podman, image: str) -> dict[str, int]:
    """Return the size of each file in bytes, without symbolic links."""
    return {path: size for path, size in _walk(podman, image, "size").items() if size is not None}


def contents(podman: Podman, image: str) -> dict[str, str]:
    """Return the hash of each file and the target of each link; bytecode contains times, so it has no hash."""
    return _walk(podman, image, "content")


def _walk(podman: Podman, image: str, describe: str) -> dict[str, Any]:
    script = _WALK.replace("DESCRIBE", describe)
    found: dict[str, Any] = json.loads(podman.within(image, "python", "-c", script))
    assert len(found) > 1000
    return found
