"""Servers that a benchmark starts end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.server import ROOT


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_no_service(kind: signal.Signals, tmp_path: Path) -> None:
    """The store is empty, so that the service is still waited for when the signal comes."""
    command = [sys.executable, "-m", "benchmarks", "refusal", "--rounds", "1"]
    environment = {**os.environ, "MODEL_STORE_URL": f"file://{tmp_path}"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    benchmark, until = psutil.Process(process.pid), time.monotonic() + 60
    while len(started := benchmark.children(recursive=True)) < 3:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(kind)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert psutil.wait_procs(started, timeout=5)[1] == []
