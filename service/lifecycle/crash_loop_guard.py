"""Record on disk which versions crashed the process, so that a restart does not try them again and again.

A graph that crashes the engine, or a version over the memory limit, ends the runner without an error.
A file in the cache exists while a version is loaded; if the next start finds it, the load crashed the process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_CRASHES = 2
"""Crashes after which a version is rejected; a single one may have had another cause."""

_RESET_S = 3600.0
"""Seconds after which a crash no longer counts: the limits may have changed."""


class LoadCrashedError(Exception):
    """The process crashed each time while this version was loaded."""


class CrashLoopGuard:
    """Counts the loads that never ended, in a folder that outlives the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser()

    @contextmanager
    def loading(self, digest: str) -> Iterator[None]:
        """Keep the marker of a version while the block runs; every end but a crash removes it.

        If the folder cannot be written, the version is loaded without a marker.

        Raises:
            LoadCrashedError: The process crashed `MAX_CRASHES` times in this block recently.
        """
        marker = self._marker_path(digest)
        crashes = self._count_crashes(marker)
        if crashes >= MAX_CRASHES:
            raise LoadCrashedError(
                f"the process crashed {crashes} times while it loaded this version, so it is not retried; "
                "check that it fits into the memory limit; a reload tries again"
            )
        with suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(str(crashes + 1))
        try:
            yield
        finally:
            with suppress(OSError):
                marker.unlink()

    def reset(self) -> None:
        """Forget all crashes; none if the folder cannot be read."""
        with suppress(OSError):
            for marker in list(self._folder.iterdir()):
                with suppress(OSError):
                    marker.unlink()

    def _marker_path(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def _count_crashes(self, marker: Path) -> int:
        try:
            return int(marker.read_text()) if time.time() - marker.stat().st_mtime < _RESET_S else 0
        except (OSError, ValueError):
            return 0
