"""Record on disk which versions crashed the process, so that a restart does not try them again and again.

A graph that makes the engine crash, or one version too many for the memory limit, ends the runner without a word.
A file in the cache exists while a version is loaded; if the next start finds it, the load crashed the process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ATTEMPTS = 2
"""Crashes after which a version is rejected; a single one may have had another cause."""

_FORGET_S = 3600.0
"""Seconds after which a crash no longer counts: the limits may have changed."""


class LoadCrashedError(Exception):
    """The process crashed each time while this version was loaded."""


class CrashLoopGuard:
    """Counts the loads that never ended, in a folder that outlives the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser()

    @contextmanager
    def loading(self, digest: str) -> Iterator[None]:
        """Hold the marker of a version while the block runs; every end but a crash removes it.

        A folder that cannot be written guards nothing, and stops nothing.

        Raises:
            LoadCrashedError: The process died `ATTEMPTS` times in such a block not long ago.
        """
        mark = self._mark(digest)
        deaths = self._deaths(mark)
        if deaths >= ATTEMPTS:
            raise LoadCrashedError(
                f"the process died {deaths} times while it loaded this version, so it is not tried again; "
                "does it fit into the memory limit? A reload tries once more"
            )
        with suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(str(deaths + 1))
        try:
            yield
        finally:
            with suppress(OSError):
                mark.unlink()

    def reset(self) -> None:
        """Forget all crashes; none if the folder cannot be read."""
        with suppress(OSError):
            for mark in list(self._folder.iterdir()):
                with suppress(OSError):
                    mark.unlink()

    def _mark(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def _deaths(self, mark: Path) -> int:
        try:
            return int(mark.read_text()) if time.time() - mark.stat().st_mtime < _FORGET_S else 0
        except (OSError, ValueError):
            return 0
