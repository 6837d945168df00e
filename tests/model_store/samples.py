"""Version folders, and stores that count, hold up or spoil what passes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store.catalog.labels import LabelTarget
from model_store.store.remote import Remote, Stream
from model_store.trust.manifest import (
    Evaluation,
    Golden,
    InputContract,
    Manifest,
    ManifestFile,
    Variant,
)

FILES: Mapping[str, bytes] = {
    "saved_model.pb": b"graph" * 1000,
    "variables/variables.data-00000-of-00001": b"weights" * 5000,
    "variables/empty": b"",
    "golden/pixels.npy": b"pixels",
    "golden/scores.npy": b"scores",
    "openvino/fp32 é.xml": b"<net/>",
}

COPY = "xception/labels.json"
"""The copy of the labels that readers ask first."""


def target(version: int) -> LabelTarget:
    """Where a label points, for tests of labels: there need be no such version."""
    return LabelTarget(version=version, manifest=f"sha256:{version:064x}")


def write_version(root: Path, changed: Mapping[str, bytes] | None = None, **fields: Any) -> Path:
    files = {**FILES, **(changed or {})}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    manifest = make_manifest(files, **fields)
    (root / "manifest.json").write_bytes(manifest.to_bytes())
    return root


def make_manifest(files: Mapping[str, bytes], **fields: Any) -> Manifest:
    return Manifest(
        **{
            "created": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            "architecture": "xception",
            "input": InputContract(height=71, width=71),
            "classes": ("cat", "dog"),
            "signatures": {},
            "files": tuple(
                ManifestFile(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                for name, data in files.items()
            ),
            "variants": (
                Variant(engine="tensorflow", precision="fp32", path=".", files=("saved_model.pb",)),
                Variant(
                    engine="openvino",
                    precision="fp32",
                    path="openvino/fp32 é.xml",
                    files=("openvino/fp32 é.xml",),
                ),
            ),
            "golden": Golden(images=(), pixels="golden/pixels.npy", scores="golden/scores.npy"),
            "evaluation": Evaluation(data="pictures", examples=10, accuracy=0.875),
            **fields,
        }
    )


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def visible(root: Path) -> list[str]:
    """What a reader of the cache may find: entries, not the area of what is incoming."""
    return sorted(name for name in contents(root) if not name.startswith("."))


def parts(root: Path) -> list[Path]:
    """What is left of files on their way, anywhere below `root`, that no later pull goes on with."""
    found = [path for path in root.rglob("*") if "parts" in path.parent.name or path.name.endswith(".part")]
    return [path for path in found if not path.name.startswith("sha256-")]


def kept(cache_root: Path) -> dict[str, int]:
    """What a later pull goes on with: the size of each part, by the hash of what it will be."""
    sizes = {}
    for path in (cache_root / ".incoming" / "parts").glob("sha256-*"):
        with suppress(FileNotFoundError):  # A pull that goes on has just finished it.
            sizes[path.name.removeprefix("sha256-")] = path.stat().st_size
    return sizes


class WatchedRemote(Remote):
    """Counts what is streamed; may change it on the way."""

    def __init__(self, url: str, change: Callable[[str, bytes], bytes] = lambda _, block: block) -> None:
        inner = Remote.open(url)
        super().__init__(inner._connect, inner.url)
        self.streamed: set[str] = set()
        self.gets: list[str] = []
        self.bytes = 0
        self._change = change
        self._counting = threading.Lock()

    def get(self, path: str, limit: int) -> bytes:
        self.gets.append(path)
        return super().get(path, limit)

    def stream(self, path: str, start: int = 0, end: int | None = None) -> Stream:
        inner = super().stream(path, start, end)
        with self._counting:
            self.streamed.add(path)
        return Stream(self._passed(path, inner), inner.size, inner.etag)

    def _passed(self, path: str, inner: Stream) -> Iterator[bytes]:
        for block in inner:
            with self._counting:
                self.bytes += len(block)
            yield self._change(path, block)


def start_python(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_cli(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_store", *args], capture_output=True, text=True, timeout=60, check=False
    )
