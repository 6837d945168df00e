"""Alerts of the service, delivered to a webhook by a real Prometheus and Alertmanager."""

from __future__ import annotations

import signal

from tests.faults.versions import wait_until

from .monitored import NAMESPACE, POD, SOON_S, Monitored


def test_a_healthy_service_fires_no_alert(monitored: Monitored) -> None:
    with monitored.traffic():  # For longer than the `for` of most alerts.
        wait_until(lambda: monitored.value("count_over_time(xception_ready[1m])") > 22, SOON_S)
        assert monitored.value("sum(rate(xception_requests_total[10s]))") > 0
    assert monitored.value("up") == 1, "the pod of another application is scraped"
    assert monitored.value("ALERTS") == 0
    assert not monitored.receiver.told


def test_an_unreachable_store_that_recovers(monitored: Monitored) -> None:
    monitored.link.cut_after = 0
    fired = monitored.wait_for("XceptionStoreUnreachable", "firing")
    assert fired["labels"] == {
        "alertname": "XceptionStoreUnreachable",
        "severity": "warning",
        "namespace": NAMESPACE,
        "job": "xception",
        "pod": POD,
        "instance": f"127.0.0.1:{monitored.server.port}",
        "model": "xception",
    }
    assert fired["annotations"]["summary"] == f"{POD} cannot read the labels in the store"
    assert not monitored.receiver.heard("XceptionStoreUnreachable", "resolved")
    assert monitored.server.client.get("/readyz").status_code == 200
    monitored.link.mend()
    monitored.wait_for("XceptionStoreUnreachable", "resolved")


def test_a_version_that_cannot_be_served(monitored: Monitored) -> None:
    with monitored.broken_canary():
        fired = monitored.wait_for("XceptionVersionFailed", "firing")
        assert fired["annotations"]["summary"] == f"{POD} cannot serve version 2, which a label points to"
    monitored.wait_for("XceptionVersionFailed", "resolved")


def test_a_stopped_runner_is_not_ready(monitored: Monitored) -> None:
    runner = monitored.server.runner()
    runner.send_signal(signal.SIGSTOP)
    fired = monitored.wait_for("XceptionNoReadyVersion", "firing")
    assert fired["labels"]["severity"] == "critical"
    runner.kill()
    monitored.wait_for("XceptionNoReadyVersion", "resolved")
    assert monitored.server.runner().pid != runner.pid


def test_a_service_that_hangs(monitored: Monitored) -> None:
    edge = monitored.server.edge()
    edge.send_signal(signal.SIGSTOP)
    try:
        monitored.wait_for("XceptionTargetDown", "firing")
        monitored.wait_for("XceptionAbsent", "firing")
    finally:
        edge.send_signal(signal.SIGCONT)
    monitored.wait_for("XceptionTargetDown", "resolved")
    monitored.wait_for("XceptionAbsent", "resolved")
