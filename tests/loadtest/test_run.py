from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, Server, free_port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a load test and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest.run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_closed_loop_that_meets_its_objectives(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[single]\nmin_images_per_second = 0.5\nmax_error_share = 0\n")
    report = tmp_path / "report"
    done = run(
        *("--host", server.url, "--objectives", str(tmp_path / "mine.toml"), "--report", str(report)),
        *("--duration", "2s", "--warm-up", "1s", "--clients", "3"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| images a second | ≥ 0.5 |" in done.stdout
    assert "All objectives are met." in done.stdout
    summary = json.loads((report / "summary.json").read_text())
    assert (summary["met"], summary["whole"], len(summary["versions"])) == (True, True, 1)
    assert summary["measured"]["good"] == summary["measured"]["asked"] > 0
    assert summary["measured"]["p50_ms"] <= summary["measured"]["p99_ms"]
    assert (report / "load.png").read_bytes().startswith(b"\x89PNG")
    assert "single" in (report / "locust.html").read_text()
    assert "single" in (report / "locust_stats.csv").read_text()


def test_an_open_loop_of_two_workers_that_misses_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[single]\nmax_p50_ms = 0.001\nmax_error_share = 0\n")
    done = run(
        *("--host", server.url, "--objectives", str(tmp_path / "mine.toml"), "--report", str(tmp_path / "report")),
        *("--duration", "2s", "--warm-up", "1s", "--arrivals", "constant", "--rate", "15", "--workers", "2"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Objectives are MISSED." in done.stdout
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert [(one["objective"], one["met"]) for one in summary["objectives"]] == [
        ("p50, ms", False),
        ("share of errors", True),
    ]
    # What both asked together, each its share.
    assert summary["measured"]["asked"] == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "somewhere"], "HOST=somewhere: give the address of the service"),
        (["--host", f"http://127.0.0.1:{free_port()}"], "No service answers at http://127.0.0.1:"),
        (["--scenario", "ramp", "--arrivals", "closed"], "arrivals: ramp needs constant or poisson"),
    ],
)
def test_what_cannot_begin_says_why_in_one_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
