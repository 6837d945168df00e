"""Metrics of processes that come and go, as the folder that they share keeps them."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import REGISTRY, multiprocess

from service.telemetry import metrics
from tests.server import ROOT

SERVES = """
from service.telemetry import metrics
from service.core.serving_state import VersionState, VersionStatus

runner = metrics.RunnerMetrics()
runner.desired_changed("xception", {"": 1, "stable": 1, "canary": 2})
runner.version_changed("xception", VersionStatus(version=1, digest="", state=VersionState.AVAILABLE))
runner.store_polled("xception", True)
metrics.exposition(ready=True)
"""

SUCCEEDS_IT = """
from service.telemetry import metrics
from service.core.serving_state import VersionState, VersionStatus

metrics.forget_dead()
runner = metrics.RunnerMetrics()
runner.desired_changed("xception", {"": 3, "stable": 3})
runner.version_changed("xception", VersionStatus(version=3, digest="", state=VersionState.LOADING))
runner.store_polled("xception", True)
print(metrics.exposition(ready=False).decode())
"""

FOLLOWS_LABELS = """
from service.telemetry import metrics

runner = metrics.RunnerMetrics()
runner.desired_changed("xception", {"": 1, "stable": 1, "canary": 2})
runner.desired_changed("xception", {"": 1, "stable": 1})
print(metrics.exposition(ready=True).decode())
"""


def run(code: str, folder: Path) -> dict[str, float]:
    """Run code in a process of its own, and return the samples that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_what_a_dead_runner_said_of_its_versions_is_forgotten(tmp_path: Path) -> None:
    run(SERVES, tmp_path)
    samples = run(SUCCEEDS_IT, tmp_path)
    assert samples["xception_ready"] == 0
    assert samples['xception_model_state{model="xception",state="loading",version="3"}'] == 1
    assert not [name for name in samples if 'version="1"' in name or 'label="canary"' in name]
    assert samples['xception_store_requests_total{model="xception",result="answered"}'] == 2


def test_a_process_that_lives_keeps_what_it_said(tmp_path: Path) -> None:
    waits = SERVES + "print(flush=True); input()"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    loaded = subprocess.Popen(
        [sys.executable, "-c", waits], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert loaded.stdout
        loaded.stdout.readline()
        samples = run(SUCCEEDS_IT, tmp_path)
    finally:
        loaded.communicate(b"\n", timeout=30)
    assert samples['xception_model_state{model="xception",state="available",version="1"}'] == 1


def test_a_label_that_the_store_no_longer_has_is_wanted_nowhere(tmp_path: Path) -> None:
    samples = run(FOLLOWS_LABELS, tmp_path)
    assert samples['xception_model_label_wanted_version{label="canary",model="xception"}'] == 0
    assert samples['xception_model_label_wanted_version{label="stable",model="xception"}'] == 1


def test_what_is_used_of_the_multiprocess_mode_is_there(tmp_path: Path) -> None:
    """`forget_dead` reads the process from the names of the files."""
    run("from service.telemetry import metrics; metrics.exposition(ready=True)", tmp_path)
    (file,) = tmp_path.glob("gauge_livemostrecent_*")
    assert re.fullmatch(r"gauge_livemostrecent_\d+\.db", file.name)
    assert re.search(r"'PROMETHEUS_MULTIPROC_DIR'", inspect.getsource(multiprocess))
    assert list(inspect.signature(multiprocess.mark_process_dead).parameters) == ["pid", "path"]


def test_every_metric_is_described() -> None:
    described = [metric for metric in REGISTRY.collect() if metric.name.startswith("xception_")]
    assert len(described) > 20
    for metric in described:
        assert metric.documentation.endswith("."), metric.name


def test_a_response_is_counted_by_route_and_status() -> None:
    labels = {"route": "classify", "status": "418"}
    before = REGISTRY.get_sample_value("xception_requests_total", labels) or 0
    metrics.record_response("classify", 418, 0.1, None)
    assert REGISTRY.get_sample_value("xception_requests_total", labels) == before + 1
