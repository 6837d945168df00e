"""Rules: each alert is tested with promtool, documented in the runbook, and uses existing metrics."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from scripts.monitoring_rules import prometheus_rule
from service.telemetry import metrics
from tests.server import ROOT

from .monitored import MONITORING, RULES, with_short_durations
from .test_dashboard import QUERIES

CASES = sorted((ROOT / "tests" / "deploy" / "rules").glob("*.yaml"))
RUNBOOK = "docs/runbooks/alerts.md"
PAGE = (ROOT / RUNBOOK).read_text()
PROPOSED_QUERIES = re.findall(r"`([^`]+\[14d\][^`]*)`", PAGE)
"""Queries in the runbook for choosing thresholds."""


def rules() -> list[dict[str, Any]]:
    """Return all rules of all groups."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def collectors() -> Iterator[MetricWrapperBase]:
    """Yield the metrics of the service."""
    yield from (value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase))


def name_of(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    return family.name + ("_total" if family.type == "counter" else "")


def series() -> set[str]:
    """Return the names of all series that the service exports."""
    found = set()
    for metric in collectors():
        parts = ("_bucket", "_sum", "_count") if isinstance(metric, Histogram) else ("",)
        found |= {name_of(metric) + part for part in parts}
    return found


def check(promtool: str, *words: str) -> None:
    done = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_unit_tests_of_promtool_pass(promtool: str, case: Any) -> None:
    check(promtool, "test", "rules", str(case))


def test_every_alert_has_a_case_where_it_fires_and_one_where_it_does_not() -> None:
    fires: Counter[str] = Counter()
    silent: Counter[str] = Counter()
    for file in CASES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for expected in case.get("alert_rule_test", ()):
                (fires if expected.get("exp_alerts") else silent)[expected["alertname"]] += 1
    assert set(fires) == set(silent) == set(ALERTS)


def test_the_prometheusrule_equals_the_rule_files(promtool: str) -> None:
    assert (MONITORING / "prometheus-rule.yaml").read_text() == prometheus_rule(), "run scripts/monitoring_rules.py"
    groups = yaml.safe_load(prometheus_rule())["spec"]["groups"]
    assert groups == [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    check(promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


def test_the_queries_of_the_runbook_are_valid(promtool: str, tmp_path: Path) -> None:
    assert len(PROPOSED_QUERIES) >= 7
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(PROPOSED_QUERIES)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    check(promtool, "check", "rules", str(file))


def test_only_durations_are_scaled() -> None:
    assert with_short_durations(
        '- name: g\n  interval: 15s # why\nrate(x{le="1.0"}[5m]) > 6 * sum(y[3d])\nfor: 15m\nz[1h]'
    ) == ('- name: g\nrate(x{le="1.0"}[5s]) > 6 * sum(y[72m])\nfor: 15s\nz[1m]')


@pytest.mark.parametrize(
    "expression", [rule["expr"] for rule in rules()] + [query for _, query in QUERIES] + PROPOSED_QUERIES
)
def test_metrics_in_expressions_exist(expression: str) -> None:
    used = set(re.findall(r"\b(?:(?:job|pod):)?xception_[\w:]+", expression))
    assert used <= series() | RECORDED, used - series() - RECORDED


def test_every_alert_has_a_section_in_the_runbook() -> None:
    table = dict(re.findall(r"^\| \[(Xception\w+)\]\(#\w+\) \| (\w+) \|", PAGE, re.MULTILINE))
    assert table == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    assert re.findall(r"^### (\w+)$", PAGE, re.MULTILINE) == list(table)
    for name, rule in ALERTS.items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}#{name.lower()}"
        assert f"(#{name.lower()})" in PAGE
