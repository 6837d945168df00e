"""A closed loop of clients, run in a process of its own, and its report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring.summary import percentile

OK = "200"
"""The status of good responses."""


@dataclass
class Report:
    """The results of a closed loop."""

    seconds: float
    """Length of the window in which responses are counted."""
    latencies_ms: list[float] = field(default_factory=list)
    """Of the responses with status 200 in the window."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Responses in the window by status, or by what came instead of a response."""
    requests: int = 0
    """Completed requests, those before and after the window included."""
    cpu_s: float = 0.0
    """CPU time that the clients took in the window."""

    @property
    def rate(self) -> float:
        """Return the responses with status 200 a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def failures(self) -> dict[str, int]:
        """Return the number of all other responses, by status."""
        return {status: count for status, count in self.statuses.items() if status != OK}

    def percentile_ms(self, share: float) -> float:
        """Return the latency below which this share of the responses lies, in ms."""
        return percentile(self.latencies_ms, share)


def closed_loop(
    url: str,
    bodies: Sequence[Path],
    clients: int,
    seconds: float,
    *,
    settle_s: float = 0.5,
    rows: int = 1,
    back_off_s: float = 0.0,
) -> Report:
    """Send requests from a number of clients, each of which waits for its response before the next request.

    Args:
        url: Where to post.
        bodies: Files with JSON documents, sent in turn.
        clients: How many.
        seconds: Length of the window in which responses are counted.
        settle_s: Load before the window.
        rows: Predictions in a response.
        back_off_s: How long a client waits after any response but 200.
    """
    plan = {
        "url": url,
        "bodies": [str(path) for path in bodies],
        "clients": clients,
        "seconds": seconds,
        "settle_s": settle_s,
        "rows": rows,
        "back_off_s": back_off_s,
    }
    command = [sys.executable, "-m", "benchmarks.load.closed_loop_process", json.dumps(plan)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, start_new_session=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return Report(**{**document, "statuses": Counter(document["statuses"])})


def write_bodies(folder: Path, images: int = 1) -> list[Path]:
    """Write a predict request for each of the photographs, and return the files."""
    from loadtest.load.images import SIZES, jpegs, predict_body

    paths = []
    for first in range(len(jpegs(SIZES[1]))):
        paths.append(folder / f"{first}.json")
        paths[-1].write_bytes(predict_body(SIZES[1], images, first))
    return paths
