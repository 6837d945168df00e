"""Free ports, and the memory of processes."""

from __future__ import annotations

import socket

import psutil


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_mib(process: psutil.Process | None = None) -> float:
    """Return the proportional set size of a process, by default this one, in MiB.

    Raises:
        psutil.Error: The process has ended, or may not be inspected.
    """
    return float((process or psutil.Process()).memory_full_info().pss) / 2**20
