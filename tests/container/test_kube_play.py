"""The pods of deploy/ run with `podman kube play`: their templates, init container, volumes and limits.

Podman differs from a cluster, so a few things are changed here: the image has the name of its build; the pod uses the
host network, and therefore a free port; volumes (emptyDir too), Secrets and ConfigMaps of files are podman's, with
unique names; the bucket belongs to the test; no GPU is requested. Podman runs no probes and sets no fsGroup.
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
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.lifecycle.versions import derive_version
from model_store.store.remote import Remote
from model_store.transfer.publish import publish as publish_version
from model_store.trust.signing import Signer
from tests.deploy.exchanges import exchanged
from tests.deploy.manifests import Manifest, containers, find, overlay, pod_of
from tests.model_store.keys import write_key
from tests.model_store.web_server import serve_folder, write_certificate
from tests.server import free_port

from .conftest import SHORT_WARM_UP, Bucket
from .podman import Podman
from .test_serving import pod_limits

START_TIMEOUT_S = 120.0

SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""Settings of a store that come from a Secret; the others are in the ConfigMap."""


BOTH = {"int8.bin", "fp32.bin"}
"""A file of the variant that the init container pulls, and one of the variant that the server then pulls itself."""


class Pod:
    """The pod of a Deployment of an overlay. Use it as a context manager."""

    def __init__(
        self,
        podman: Podman,
        image: str,
        folder: Path,
        manifests: list[Manifest],
        deployment: str = "xception",
        **settings: str,
    ) -> None:
        self._podman = podman
        self._folder = folder
        self.name = f"kube-play-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self.settings: Manifest = copy.deepcopy(find(manifests, "ConfigMap", "xception-settings"))
        self.settings["data"] |= settings
        self._files: list[Manifest] = []
        workload = copy.deepcopy(find(manifests, "Deployment", deployment))
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
            if "configMap" in volume:
                volume["configMap"]["name"] = self.volume(volume["configMap"]["name"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._podman.run("pod", "rm", "--force", "--time", "40", self.name, check=False)
        files = [file["metadata"]["name"] for file in self._files]  # Podman makes a volume of each.
        for volume in (*map(self.volume, ("cache", "tmp", "store")), *files):
            self._podman.run("volume", "rm", "--force", volume, check=False)
        self._podman.run("secret", "rm", self.volume("credentials"), check=False)
        self.http.close()

    def volume(self, name: str) -> str:
        """Return the name under which podman knows a volume or the secret."""
        return f"{self.name}-{name}"

    def make_volume(self, name: str) -> Path:
        """Create a volume in advance, and return its path."""
        self._podman.run("volume", "create", self.volume(name))
        done = self._podman.run("volume", "inspect", self.volume(name), "--format", "{{.Mountpoint}}")
        return Path(done.stdout.strip())

    def make_secret(self, **data: str) -> None:
        """Create the secret with the credentials of the store, as a manifest; podman 4.3 expects only its data."""
        coded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
        head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.volume("credentials")}}
        old = self._podman.run("version", "--format", "{{.Client.Version}}").stdout.startswith("4.3.")
        file = self._folder / "secret.json"
        file.write_text(json.dumps(coded if old else {**head, "data": coded}))
        self._podman.run("secret", "create", self.volume("credentials"), str(file))

    def make_config_map(self, name: str, file: str, path: Path) -> None:
        """Add a ConfigMap with one file, as `kubectl create configmap NAME --from-file=FILE=PATH` does."""
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.volume(name)}}
        self._files.append({**head, "data": {file: path.read_text()}})

    def play(self) -> None:
        """Run the init container to its end, then start the server."""
        file = self._folder / "pod.yaml"
        file.write_text(yaml.safe_dump_all([self.settings, *self._files, self.manifest]))
        self._podman.run("kube", "play", str(file))

    def inspect(self, form: str) -> str:
        """Return the output of `podman inspect` for the server's container."""
        output: str = self._podman.run("inspect", f"{self.name}-server", "--format", form).stdout.strip()
        return output

    def within(self, *words: str) -> str:
        """Run a command in the server's container, and return its output."""
        output: str = self._podman.run("exec", f"{self.name}-server", *words).stdout
        return output

    @property
    def log(self) -> str:
        """The log of the server."""
        done = self._podman.run("logs", f"{self.name}-server")
        return f"{done.stdout}{done.stderr}"

    def wait(self, path: str, status: int, text: str = "") -> httpx.Response:
        """Return the response of a path once it has a status, and a text in its body."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if (response := self.http.get(path)).status_code == status and text in response.text:
                    return response
            assert self.inspect("{{.State.Running}}") == "true", self.log
            time.sleep(0.2)
        raise AssertionError(f"{path} did not become {status} {text!r}:\n{self.log}")

    def classify(self, image: Path) -> str:
        """Return the predicted class of an image."""
        response = self.http.post("/classify", content=image.read_bytes())
        assert response.status_code == 200, response.text
        best: str = response.json()["predictions"][0]["name"]
        return best

    @property
    def cached(self) -> set[str]:
        """The names of the files in the cache."""
        return {Path(line).name for line in self.within("find", "/var/cache/xception/xception", "-type", "f").split()}


MakePod = Callable[..., Pod]


@pytest.fixture
def pod(podman: Podman, serving_image: str, tmp_path: Path) -> MakePod:
    """Make pods of an overlay, or of other manifests, with some settings changed."""

    def make(of: str | list[Manifest], **options: Any) -> Pod:
        return Pod(podman, serving_image, tmp_path, overlay(of) if isinstance(of, str) else of, **options)

    return make


def publish(store_url: str, folder: Path) -> None:
    """Copy the model of a store to the store in another folder, atomically."""
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
        cpus, memory_mib = pod_limits()
        assert played.inspect("{{.HostConfig.Memory}}") == str(memory_mib * 2**20)
        assert played.inspect("{{.HostConfig.NanoCpus}}") == str(int(cpus) * 10**9)
        assert played.within("id", "-u").strip() == "10001"
        status = dict(line.split(":", 1) for line in played.within("cat", "/proc/self/status").splitlines())
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        assert played.within("sh", "-c", "touch /srv/models/new || echo denied").strip() == "denied"


def test_a_pod_with_an_empty_store_becomes_ready_once_a_model_is_published(
    pod: MakePod, store_url: str, golden: list[Path]
) -> None:
    with pod("local", **SHORT_WARM_UP) as played:
        store = played.make_volume("store")
        played.play()
        assert played.wait("/livez", 200)
        played.wait("/v2/health/ready", 503, "no model")
        assert played.http.get("/readyz").status_code == 503
        publish(store_url, store)
        played.wait("/readyz", 200)
        assert played.classify(golden[3]) == "3"
        assert played.inspect("{{.RestartCount}}") == "0"


def test_the_production_pod_pulls_with_read_only_credentials(pod: MakePod, bucket: Bucket, golden: list[Path]) -> None:
    secret = {name: value for name, value in bucket.settings.items() if name in SECRETS}
    settings = {name: value for name, value in bucket.settings.items() if name not in SECRETS}
    with pod("production", PRECISION="fp32", **settings) as played:
        played.make_secret(**secret)
        played.play()
        played.wait("/readyz", 200)
        assert played.classify(golden[5]) == "5"
        assert played.cached >= BOTH


def test_a_pod_trusts_a_private_authority_and_signer(
    pod: MakePod, package: Path, golden: list[Path], tmp_path: Path
) -> None:
    ours, theirs = (write_key(tmp_path, name, ec.generate_private_key(ec.SECP256R1())) for name in ("ours", "theirs"))
    store = tmp_path / "store"
    remote = Remote.open(f"file://{store}", publishing=True)
    publish_version(package, remote, "xception", labels=["stable"], signer=Signer.from_file(ours))
    other = derive_version(
        package, tmp_path / "other", shift=1
    )  # Other files: the same ones would pass with our signature.
    publish_version(other, remote, "xception", labels=["canary"], signer=Signer.from_file(theirs))
    certificate = write_certificate(tmp_path)
    manifests = exchanged("production", tmp_path, "certificate-authority", "signed-models")
    with (
        serve_folder(store, certificate) as url,
        pod(manifests, MODEL_STORE_URL=url, PRECISION="fp32", **SHORT_WARM_UP) as played,
    ):
        played.make_config_map("xception-authority", "ca.crt", certificate[0])
        played.make_config_map("xception-signer", "key.pub", ours.with_suffix(".pub"))
        played.play()
        played.wait("/readyz", 200)
        assert played.classify(golden[4]) == "4"
        assert played.cached >= BOTH
        played.wait("/v1/models/xception/versions/2", 200, "is signed with another key than the one")


def test_edges_without_a_model_serve_what_the_runner_has(pod: MakePod, bucket: Bucket, golden: list[Path]) -> None:
    """Uses the overlay for GPUs, with OpenVINO on the CPU instead of TensorFlow on a GPU."""
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
