"""The autoscalers use existing metrics with the same meaning; targets and limits are those of the documentation."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY

from service.telemetry import metrics

from .manifests import DEPLOY, Manifest, find, overlay

RULES = DEPLOY / "monitoring" / "rules" / "service.yaml"

LOAD, BACKLOG = "xception_load", "xception_queue_backlog_seconds"

RECORDED = "pod:xception_load:rate1m"

WITHIN = 'namespace="xception", job="xception"'


def hpa() -> Manifest:
    """Return the specification of the HorizontalPodAutoscaler."""
    spec: Manifest = find(overlay("production"), "HorizontalPodAutoscaler", "xception")["spec"]
    return spec


def scaled_object() -> Manifest:
    """Return the specification of KEDA's ScaledObject."""
    spec: Manifest = yaml.safe_load((DEPLOY / "components" / "keda" / "scaled-object.yaml").read_text())["spec"]
    return spec


def adapter() -> dict[str, Manifest]:
    """Return the rules of the Prometheus adapter, by the name of the metric in Kubernetes."""
    rules = yaml.safe_load((DEPLOY / "components" / "hpa" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    return {rule.get("name", {}).get("as") or series(rule): rule for rule in rules}


def series(rule: Manifest) -> str:
    """Return the name of the series that a rule of the adapter selects."""
    name, _, condition = rule["seriesQuery"].partition("{")
    assert condition == 'namespace!="",pod!=""}'
    return str(name)


def recorded() -> dict[str, str]:
    """Return the recording rules, by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}


def quantity(text: str) -> float:
    """Parse a Kubernetes quantity, such as 250m."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def exported() -> set[str]:
    """Return the names of all samples that /metrics may contain."""
    assert metrics
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {
        f"{family.name}{ending}"
        for family in REGISTRY.collect()
        if family.name.startswith("xception_")
        for ending in endings[family.type]
    }


def test_the_adapter_has_the_metrics_of_the_autoscaler() -> None:
    asked = {metric["pods"]["metric"]["name"] for metric in hpa()["metrics"]}
    assert asked == set(adapter()) == {LOAD, BACKLOG}


def test_the_metrics_are_exported() -> None:
    assert series(adapter()[BACKLOG]) in exported()
    assert series(adapter()[LOAD]) == RECORDED
    names = set(re.findall(r"xception_\w+", recorded()[RECORDED]))
    assert names
    assert names <= exported()


def test_keda_uses_the_same_metrics_and_limits() -> None:
    asked = {
        trigger["metadata"]["query"]: float(trigger["metadata"]["threshold"]) for trigger in scaled_object()["triggers"]
    }
    targets = {
        metric["pods"]["metric"]["name"]: quantity(metric["pods"]["target"]["averageValue"])
        for metric in hpa()["metrics"]
    }
    assert asked == {f"sum({RECORDED}{{{WITHIN}}})": targets[LOAD], f"sum({BACKLOG}{{{WITHIN}}})": targets[BACKLOG]}
    own = scaled_object()
    assert (own["minReplicaCount"], own["maxReplicaCount"]) == (hpa()["minReplicas"], hpa()["maxReplicas"])
    assert own["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == hpa()["behavior"]


def test_targets_limits_and_rates_are_those_of_the_documentation() -> None:
    targets = {
        metric["pods"]["metric"]["name"]: quantity(metric["pods"]["target"]["averageValue"])
        for metric in hpa()["metrics"]
    }
    assert targets == {LOAD: 0.7, BACKLOG: 0.25}
    assert (hpa()["minReplicas"], hpa()["maxReplicas"]) == (2, 20)
    up, down = hpa()["behavior"]["scaleUp"], hpa()["behavior"]["scaleDown"]
    policies = {policy["type"]: (policy["value"], policy["periodSeconds"]) for policy in up["policies"]}
    assert policies == {"Percent": (100, 30), "Pods": (2, 30)}
    assert (up["stabilizationWindowSeconds"], up["selectPolicy"]) == (0, "Max")
    assert down["policies"] == [{"type": "Percent", "value": 20, "periodSeconds": 60}]
    assert down["stabilizationWindowSeconds"] == 300
    monitor = find(overlay("production"), "ServiceMonitor", "xception")
    assert {one["interval"] for one in monitor["spec"]["endpoints"]} == {"15s"}
    (group,) = (one for one in yaml.safe_load(RULES.read_text())["groups"] if one["name"] == "xception-load")
    assert group["interval"] == "15s"


def test_prometheus_evaluates_the_queries_of_the_adapter(promtool: str, tmp_path: Path) -> None:
    """A batch of 4 costs 20 ms in one of two streams, so 150 and 300 images per second are a load of 0.375 and 0.75."""
    matchers, group = 'namespace="xception",pod=~"a|b"', "pod"
    queries = {
        name: rule["metricsQuery"]
        .replace("<<.Series>>", series(rule))
        .replace("<<.LabelMatchers>>", matchers)
        .replace("<<.GroupBy>>", group)
        for name, rule in adapter().items()
    }
    assert not any("<<" in query for query in queries.values())
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [*_pod("a", images=150, backlog="0"), *_pod("b", images=300, backlog="0.4")],
                "promql_expr_test": [
                    _expect(queries[LOAD], {"a": 0.375, "b": 0.75}),
                    _expect(queries[BACKLOG], {"a": 0, "b": 0.4}),
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps(document))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _pod(name: str, images: int, backlog: str) -> list[dict[str, str]]:
    """Return the series of a pod that runs a number of images per second."""
    pod = f'namespace="xception",job="xception",pod="{name}",instance="{name}:3000"'
    version = f'{pod},model="xception",version="1"'
    constant = {
        f"xception_queue_backlog_seconds{{{pod}}}": backlog,
        f"xception_batch_cost_image_seconds{{{version}}}": "0.004",
        f"xception_batch_cost_fixed_seconds{{{version}}}": "0.004",
        f"xception_batch_limit{{{version}}}": "4",
        f"xception_engine_streams{{{version}}}": "2",
        f'xception_model_state{{{version},state="available"}}': "1",
    }
    grown = {"series": f"xception_batch_size_sum{{{pod}}}", "values": f"0+{images * 15}x20"}
    return [{"series": name, "values": f"{value}x20"} for name, value in constant.items()] + [grown]


def _expect(query: str, values: dict[str, float]) -> dict[str, Any]:
    """Return the expected result of a query by pod, after five minutes."""
    samples = [{"labels": f'{{pod="{pod}"}}', "value": value} for pod, value in values.items()]
    return {"expr": query, "eval_time": "5m", "exp_samples": samples}
