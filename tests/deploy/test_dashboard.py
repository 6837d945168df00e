"""Every query of the dashboard has a result in a real Prometheus that scrapes a service under load."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.versions import wait_until

from .monitored import MONITORING, NAMESPACE, POD, SOON_S, Monitored

DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def replaced(text: str) -> str:
    """Return a query as Grafana sends it for one namespace and all pods."""
    values = {"$namespace": NAMESPACE, "$pod": ".*", "$__rate_interval": "10s"}
    for name, value in values.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


@pytest.fixture(scope="module")
def busy(monitored: Monitored) -> Iterator[Monitored]:
    """The service under load, after a version has failed and a client has disconnected."""
    with monitored.broken_canary():
        wait_until(lambda: monitored.value("xception_model_failures_total") > 0, SOON_S)
    monitored.drop_images()
    with monitored.traffic():
        yield monitored


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title}-{at}" for at, (title, _) in enumerate(QUERIES)])
def test_a_query_has_a_result(busy: Monitored, title: str, query: str) -> None:
    def has_result() -> bool:
        values = [float(sample["value"][1]) for sample in busy.prometheus.query(replaced(query))]
        return any(math.isfinite(value) for value in values)

    wait_until(has_result, SOON_S)


def test_the_variables_offer_existing_values(busy: Monitored) -> None:
    variables = {entry["name"]: entry for entry in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "pod"]
    for name, values in (("namespace", [NAMESPACE]), ("pod", [POD])):
        selector, _, label = replaced(variables[name]["definition"]).removesuffix(")").rpartition(", ")
        assert busy.prometheus.label_values(label, selector.removeprefix("label_values(")) == values


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) == 23


def test_every_panel_uses_the_selected_data_source_and_has_a_unit() -> None:
    for panel in PANELS:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert panel["fieldConfig"]["defaults"]["unit"]
