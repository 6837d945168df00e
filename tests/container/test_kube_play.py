"""The pods of deploy/ run: `podman kube play` takes their templates, init container, volumes, bounds and all.

Podman is no cluster. What differs is changed here, and nothing else: the image has the name that it was built with; the
network is that of the machine, so that the port has to be a free one; volumes, emptyDir too, are podman's, with names
that nobody else uses; the bucket is the test's own; a GPU is not asked for. No probe is asked, and no fsGroup is set.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.deploy.manifests import Manifest, containers, find, overlay, pod_of
from tests.server import free_port

from .conftest import SHORT_WARM_UP, Bucket
from .podman import Podman

START_TIMEOUT_S = 120.0

SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""What comes from a Secret; all else of a store is in the ConfigMap."""


BOTH = {"int8.bin", "fp32.bin"}
"""Files of the variant that the init container brings, and of the one that the server then pulls for itself."""


class Pod:
    """The pod of a Deployment of an overlay. Use it as a context manager."""

    def __init__(
        self, podman: Podman, image: str, folder: Path, name: str, deployment: str = "xception", **settings: str
    ) -> None:
        self._podman = podman
        self._folder = folder
        self.name = f"kube-play-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self.settings: Manifest = copy.deepcopy(find(overlay(name), "ConfigMap", "xception-settings"))
        self.settings["data"] |= settings
        workload = copy.deepcopy(find(overlay(name), "Deployment", deployment))
        self._adapt(workload, image, settings)
        self.manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name},
            "spec": {**pod_of(workload), "restartPolicy": "Never", "hostNetwork": True},
        }

    def _adapt(self, workload: Manifest, image: str, settings: Mapping[str, str]) -> None:
        for container in containers(workload):
            container["image"] = image
            container.pop("ports", None)
            for bounds in container["resources"].values():
                bounds.pop("nvidia.com/gpu", None)
            kept = [one for one in container.get("env", []) if one["name"] not in settings]
            container["env"] = [*kept, {"name": "BENTOML_PORT", "value": str(self.port)}]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container:
                    container[probe]["httpGet"]["port"] = self.port
            for mount in container["volumeMounts"]:
                mount["name"] = self.volume(mount["name"])
            for source in container["envFrom"]:
                if "secretRef" in source:
                    source["secretRef"]["name"] = self.volume("credentials")
        for volume in pod_of(workload)["volumes"]:
            volume["name"] = self.volume(volume["name"])
            if "persistentVolumeClaim" in volume:
                volume["persistentVolumeClaim"]["claimName"] = volume["name"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._podman.run("pod", "rm", "--force", "--time", "40", self.name, check=False)
        for volume in ("cache", "tmp", "store"):
            self._podman.run("volume", "rm", "--force", self.volume(volume), check=False)
        self._podman.run("secret", "rm", self.volume("credentials"), check=False)
        self.http.close()

    def volume(self, name: str) -> str:
        """Return what a volume, or the secret, is called here."""
        return f"{self.name}-{name}"

    def make_volume(self, name: str) -> Path:
        """Make a volume ahead, and return where it lies."""
        self._podman.run("volume", "create", self.volume(name))
        done = self._podman.run("volume", "inspect", self.volume(name), "--format", "{{.Mountpoint}}")
        return Path(done.stdout.strip())

    def make_secret(self, **data: str) -> None:
        """Make the secret with the credentials of the store: a manifest, of which podman 4.3 knows the data alone."""
        coded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
        head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.volume("credentials")}}
        old = self._podman.run("version", "--format", "{{.Client.Version}}").stdout.startswith("4.3.")
        file = self._folder / "secret.json"
        file.write_text(json.dumps(coded if old else {**head, "data": coded}))
        self._podman.run("secret", "create", self.volume("credentials"), str(file))

    def play(self) -> None:
        """Run the init container to its end, then start the server."""
        file = self._folder / "pod.yaml"
        file.write_text(yaml.safe_dump_all([self.settings, self.manifest]))
        self._podman.run("kube", "play", str(file))

    def inspect(self, form: str) -> str:
        """Return what podman says of the server's container."""
        said: str = self._podman.run("inspect", f"{self.name}-server", "--format", form).stdout.strip()
        return said

    def within(self, *words: str) -> str:
        """Run a command in the server's container, and return what it printed."""
        said: str = self._podman.run("exec", f"{self.name}-server", *words).stdout
        return said

    @property
    def log(self) -> str:
        """Return what the server wrote."""
        done = self._podman.run("logs", f"{self.name}-server")
        return f"{done.stdout}{done.stderr}"

    def wait(self, path: str, status: int) -> httpx.Response:
        """Return the answer of a path once it has a status."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if (answer := self.http.get(path)).status_code == status:
                    return answer
            assert self.inspect("{{.State.Running}}") == "true", self.log
            time.sleep(0.2)
        raise AssertionError(f"{path} did not become {status}:\n{self.log}")

    def classify(self, image: Path) -> str:
        """Return the best class of a picture."""
        answer = self.http.post("/classify", content=image.read_bytes())
        assert answer.status_code == 200, answer.text
        best: str = answer.json()["predictions"][0]["name"]
        return best

    @property
    def cached(self) -> set[str]:
        """Return the names of the files in the cache."""
        return {Path(line).name for line in self.within("find", "/var/cache/xception/xception", "-type", "f").split()}


MakePod = Callable[..., Pod]


@pytest.fixture
def pod(podman: Podman, serving_image: str, tmp_path: Path) -> MakePod:
    """What makes a pod of an overlay, with some settings changed."""
    return lambda name, **options: Pod(podman, serving_image, tmp_path, name, **options)


def publish(store_url: str, folder: Path) -> None:
    """Make the model of a store one of the store in another folder, all at once."""
    shutil.copytree(Path(urlsplit(store_url).path) / "xception", folder / ".coming")
    (folder / ".coming").rename(folder / "xception")


def test_the_local_overlay_serves_from_its_volume(pod: MakePod, store_url: str, golden: list[Path]) -> None:
    with pod("local", PRECISION="fp32", **SHORT_WARM_UP) as played:
        publish(store_url, played.make_volume("store"))
        played.play()
        played.wait("/readyz", 200)
        assert played.classify(golden[8]) == "8"
        assert played.cached >= BOTH
        assert played.inspect("{{.HostConfig.ReadonlyRootfs}}") == "true"
        assert played.inspect("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}") == f"{2 * 2**30} {2 * 10**9}"
        assert played.within("id", "-u").strip() == "10001"
        status = dict(line.split(":", 1) for line in played.within("cat", "/proc/self/status").splitlines())
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        assert played.within("sh", "-c", "touch /srv/models/new || echo refused").strip() == "refused"


def test_a_pod_whose_store_holds_nothing_waits_and_serves_once_it_does(
    pod: MakePod, store_url: str, golden: list[Path]
) -> None:
    with pod("local", **SHORT_WARM_UP) as played:
        store = played.make_volume("store")
        played.play()
        assert played.wait("/livez", 200)
        assert "no model" in played.wait("/v2/health/ready", 503).text
        assert played.http.get("/readyz").status_code == 503
        publish(store_url, store)
        played.wait("/readyz", 200)
        assert played.classify(golden[3]) == "3"
        assert played.inspect("{{.RestartCount}}") == "0"


def test_the_pod_of_production_pulls_with_credentials_that_only_read(
    pod: MakePod, bucket: Bucket, golden: list[Path]
) -> None:
    secret = {name: value for name, value in bucket.settings.items() if name in SECRETS}
    settings = {name: value for name, value in bucket.settings.items() if name not in SECRETS}
    with pod("production", PRECISION="fp32", **settings) as played:
        played.make_secret(**secret)
        played.play()
        played.wait("/readyz", 200)
        assert played.classify(golden[5]) == "5"
        assert played.cached >= BOTH


def test_edges_without_a_model_serve_what_the_runner_has(pod: MakePod, bucket: Bucket, golden: list[Path]) -> None:
    """Of the overlay for GPUs, with OpenVINO on the CPU in the place of TensorFlow on a GPU."""
    frames = str(free_port())
    secret = {name: value for name, value in bucket.settings.items() if name in SECRETS}
    settings = {name: value for name, value in bucket.settings.items() if name not in SECRETS}
    alone = {**settings, "ENGINE": "openvino", "RUNNER_PORT": frames}
    with pod("gpu", deployment="xception-runner", **alone) as runner:
        runner.make_secret(**secret)
        runner.play()
        with pod("gpu", RUNNER_URL=runner.url, RUNNER_PORT=frames) as edge:
            edge.play()
            edge.wait("/readyz", 200)
            assert edge.classify(golden[7]) == "7"
            assert "saved_model.pb" in runner.cached  # Of the variant that its init container names; no engine read it.
            assert edge.within("find", "/var/cache/xception", "-type", "f") == ""
