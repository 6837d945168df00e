"""Readiness and metrics."""

from __future__ import annotations

from tests.service.protocols.edge import STATE, Client


async def test_readiness_follows_the_runner(client: Client) -> None:
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ready\n")
    client.state = STATE.model_copy(update={"default": None, "waiting_for": "version 3 is loading"})
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"error": "no model is available yet: version 3 is loading"})
    assert answer.headers["retry-after"] == "1"


async def test_metrics_are_in_prometheus_format(client: Client) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "\n# TYPE xception_ready gauge\n" in answer.text
