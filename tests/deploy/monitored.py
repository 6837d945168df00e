"""A service monitored by a real Prometheus, with rules in which a minute is a second."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from benchmarks.lifecycle.versions import derive_version
from model_store.catalog.history import remove_label
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from tests.conftest import run_module
from tests.faults.versions import wait_until
from tests.model_store.web_server import serve_folder
from tests.prometheus import Alertmanager, Prometheus, Receiver
from tests.server import ROOT, Server
from tests.slow_link import SlowLink

MONITORING = ROOT / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yaml"))
PREDICT = "/v1/models/xception:predict"

NAMESPACE, POD = "models", "xception-0"

SOON_S = 60.0
"""Timeout of all waiting in seconds; nothing here takes longer than a quarter of it."""


def with_short_durations(rules: str) -> str:
    """Return rules with windows and `for` durations divided by 60: a minute becomes a second, a day 24 minutes.

    The intervals of groups are removed, so that Prometheus' own applies.
    """

    def shorten(found: re.Match[str]) -> str:
        number, unit = int(found[2]), found[3]
        return f"{found[1]}{number * 24 if unit == 'd' else number}{'s' if unit == 'm' else 'm'}{found[4]}"

    rules = re.sub(r"\n +interval: .*", "", rules)
    return re.sub(r"(\[|for: )(\d+)([mhd])(\]|$)", shorten, rules, flags=re.MULTILINE)


@dataclass(frozen=True)
class Monitored:
    """A service, its store behind a link that can be cut, Prometheus, and the receiver of alerts."""

    server: Server
    prometheus: Prometheus
    receiver: Receiver
    link: SlowLink
    store: Remote
    broken: Path
    """A version with wrong golden scores."""
    image: bytes
    key: dict[str, str]
    """Headers with an API key."""

    def wait_for(self, alert: str, status: str) -> dict[str, Any]:
        """Wait until an alert has arrived as `firing` or `resolved`, and return its last notification."""
        wait_until(lambda: bool(self.receiver.heard(alert, status)), SOON_S)
        return self.receiver.heard(alert, status)[-1]

    def value(self, expression: str) -> float:
        """Return the sum of a query's samples; 0 if there are none."""
        return sum(float(sample["value"][1]) for sample in self.prometheus.query(expression))

    @contextmanager
    def broken_canary(self) -> Iterator[None]:
        """Publish a version that cannot be served, with the label `canary` while the context lasts."""
        publish(self.broken, self.store, "xception", labels=("canary",))
        try:
            yield
        finally:
            remove_label(self.store, "xception", "canary")

    def drop_images(self) -> None:
        """Disconnect a client whose images wait behind others."""
        many = orjson.dumps({"instances": [{"b64": b64encode(self.image).decode()}] * 64})

        def ask(timeout_s: float) -> None:
            with suppress(httpx.TimeoutException):
                httpx.post(f"{self.server.url}{PREDICT}", content=many, headers=self.key, timeout=timeout_s)

        def dropped() -> bool:
            first = threading.Thread(target=ask, args=(SOON_S,))
            first.start()
            ask(0.2)
            first.join()
            return "xception_dropped_images_total{" in self.server.client.get("/metrics").text

        wait_until(dropped, SOON_S)

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Send requests continuously: with images, with invalid bodies, and without a key."""
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=self.server.url, timeout=SOON_S) as client:
                while not stop.is_set():
                    client.post("/classify", content=self.image, headers=self.key)
                    client.post(
                        PREDICT, json={"instances": [{"b64": b64encode(self.image).decode()}]}, headers=self.key
                    )
                    client.post("/classify", content=b"no image", headers=self.key)
                    client.post("/classify", content=self.image)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _config(folder: Path, server: Server, alertmanager: Alertmanager) -> dict[str, Any]:
    """Return annotations/prometheus.yaml with a static pod instead of Kubernetes' discovery, and short intervals."""
    config: dict[str, Any] = yaml.safe_load((MONITORING / "annotations" / "prometheus.yaml").read_text())
    annotated = yaml.safe_load((MONITORING / "annotations" / "kustomization.yaml").read_text())["patches"][0]["patch"]
    annotations = yaml.safe_load(annotated)["spec"]["template"]["metadata"]["annotations"]
    prefix = "__meta_kubernetes_pod"
    pod = {
        f"{prefix}_ip": "127.0.0.1",
        f"{prefix}_name": POD,
        f"{prefix}_container_port_name": "http",
        f"{prefix}_label_app_kubernetes_io_name": "xception",
        f"{prefix}_label_app_kubernetes_io_part_of": "xception-service",
        "__meta_kubernetes_namespace": NAMESPACE,
        **{f"{prefix}_annotation_{re.sub(r'[./]', '_', name)}": value for name, value in annotations.items()},
        f"{prefix}_annotation_prometheus_io_port": str(server.port),
    }
    other = {**pod, f"{prefix}_label_app_kubernetes_io_part_of": "something-else", f"{prefix}_name": "other"}
    (scrape,) = config["scrape_configs"]
    del scrape["kubernetes_sd_configs"]
    scrape["static_configs"] = [{"targets": ["any"], "labels": labels} for labels in (pod, other)]
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    for file in RULES:
        (folder / file.name).write_text(with_short_durations(file.read_text()))
    config["rule_files"] = [str(folder / file.name) for file in RULES]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}]}
    return config


@contextmanager
def monitor(folder: Path, package: Path, image: bytes) -> Iterator[Monitored]:
    """Start a store, a service, Prometheus and Alertmanager.

    Args:
        folder: For the files of all of them.
        package: A version, published with the label `stable`.
        image: An image for requests.
    """
    store = Remote.open(f"file://{folder / 'store'}", publishing=True)
    publish(package, store, "xception", labels=("stable",))
    keys = folder / "keys.json"
    key = run_module("service.auth.__main__", "add", "shop", "--file", str(keys)).stdout.strip()
    broken = derive_version(package, folder / "broken", 4, "golden")
    with ExitStack() as running:
        enter: Callable[..., Any] = running.enter_context
        url = enter(serve_folder(folder / "store"))
        link = enter(SlowLink(int(url.rpartition(":")[2])))
        server = enter(
            Server(
                folder / "server",
                MODEL_STORE_URL=link.endpoint,
                MODEL_POLL_S="0.5",
                LOAD_RETRY_MAX_S="1",
                WARMUP_BUDGET_S="0.2",
                API_KEYS_FILE=str(keys),
            )
        )
        receiver = enter(Receiver())
        alertmanager = enter(Alertmanager(folder / "alertmanager", receiver.url))
        prometheus_folder = folder / "prometheus"
        prometheus_folder.mkdir()
        prometheus = enter(Prometheus(prometheus_folder, _config(prometheus_folder, server, alertmanager)))
        headers = {"Authorization": f"Bearer {key}"}
        yield Monitored(server, prometheus, receiver, link, store, broken, image, headers)
