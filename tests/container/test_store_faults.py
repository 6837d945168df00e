"""Without a model from its store a container logs the reason, stays alive but not ready, and does not restart."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.manifests import find, overlay, pod_of

from .conftest import Bucket, Start, make_bucket
from .podman import BOUNDS, CACHE, Container, Podman

RETRIES = {"MODEL_STORE_TIMEOUT_S": "1", "LOAD_RETRY_MAX_S": "1"}

Change = Callable[[Bucket], dict[str, str]]


def wrong_secret(bucket: Bucket) -> dict[str, str]:
    return {"AWS_SECRET_ACCESS_KEY": bucket.reader.secret_key[::-1]}


def no_such_bucket(bucket: Bucket) -> dict[str, str]:
    return {"MODEL_STORE_URL": "s3://not-there/models"}


def store_down(bucket: Bucket) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


FAULTS: dict[Change, tuple[str, ...]] = {
    wrong_secret: ("access denied", "AWS_SECRET_ACCESS_KEY"),
    no_such_bucket: ("not-there",),
    store_down: ("the store did not answer", "check that it is up and reachable"),
}
"""Changed settings, and the parts that the log message must contain."""


def stays_alive_and_unready(container: Container, parts: tuple[str, ...]) -> None:
    """Check a container without a model, during several retries."""
    line = container.wait_for_log("No model yet: ")
    assert all(part in line for part in parts), line
    container.wait_for("/livez", 200)
    container.wait_for("/readyz", 503)
    before = container.processes()
    assert set(before) == {"edge", "runner"}
    for _ in range(15):
        assert container.client.get("/livez").status_code == 200
        assert container.client.get("/readyz").status_code == 503
        time.sleep(0.2)
    assert container.processes() == before
    assert container.state("Running") == "true"
    rejected = container.client.post("/classify", content=b"x")
    assert rejected.status_code == 503
    assert int(rejected.headers["Retry-After"]) >= 1
    assert "Traceback" not in container.log


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_no_model_is_available(serving_image: str, bucket: Bucket, started: Start, change: Change) -> None:
    container = started(serving_image, **{**bucket.settings, **RETRIES, **change(bucket)})
    stays_alive_and_unready(container, FAULTS[change])


def test_a_corrupt_object_is_served_only_after_its_repair(
    serving_image: str, bucket: Bucket, package: Path, started: Start
) -> None:
    own = make_bucket(bucket.ceph, package)
    client = own.ceph.client()
    listed = client.list_objects_v2(Bucket=own.name, Prefix="models/xception/1/openvino/")["Contents"]
    keys = [entry["Key"] for entry in listed if entry["Key"].endswith(".bin")]
    assert keys
    bodies = {}
    for key in keys:
        bodies[key] = client.get_object(Bucket=own.name, Key=key)["Body"].read()
        damaged = bytearray(bodies[key])
        damaged[len(damaged) // 2] ^= 1
        client.put_object(Bucket=own.name, Key=key, Body=bytes(damaged))
    container = started(serving_image, **{**own.settings, **RETRIES})
    stays_alive_and_unready(container, (".bin", "sha256"))
    for key, body in bodies.items():
        client.put_object(Bucket=own.name, Key=key, Body=body)
    container.wait_for("/readyz", 200)


def pull_first(podman: Podman, image: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run only the init container of `deploy/overlays/production`, with some settings changed."""
    (container,) = pod_of(find(overlay("production"), "Deployment", "xception"))["initContainers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    environment = {**find(overlay("production"), "ConfigMap", "xception-settings")["data"], **given, **settings}
    memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
    words = ("--rm", "--network", "host", "--memory", memory, *BOUNDS, "--volume", CACHE)
    named = (word for name, value in environment.items() for word in ("--env", f"{name}={value}"))
    return podman.run("run", *words, *named, image, *container["args"], check=False)


def test_an_init_container_that_pulls_says_so(podman: Podman, serving_image: str, bucket: Bucket) -> None:
    done = pull_first(podman, serving_image, **bucket.settings)
    assert done.returncode == 0, done.stderr
    assert "Pulled xception" in done.stdout
    assert "not pulled" not in done.stderr


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_an_init_container_that_cannot_pull_says_why_and_exits_with_0(
    podman: Podman, serving_image: str, bucket: Bucket, change: Change
) -> None:
    done = pull_first(podman, serving_image, **{**bucket.settings, **change(bucket)})
    assert done.returncode == 0, done.stderr
    *_, reason, end = done.stderr.splitlines()  # Podman's own messages come first.
    assert all(part in reason for part in FAULTS[change]), reason
    assert re.fullmatch(r"not pulled \(exit status [1-9]\d*\); the server will retry", end), end
