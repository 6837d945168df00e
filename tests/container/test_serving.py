"""The service in its container: the model comes from S3, bounds are kept, signals are heard."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.lifecycle.versions import derive_version
from tests.ceph import Ceph
from tests.conftest import run_module
from tests.faults.faulty_service import is_eight
from tests.faults.traffic import Traffic
from tests.faults.versions import AUTH, MODEL, TOKEN, named_and_real
from tests.server import ROOT, free_port

from .behaviour import best, recognises_digits, stop_under_load
from .conftest import SHORT_WARM_UP, Bucket, Start, make_bucket, predict_body
from .podman import MEMORY_MIB, TENSORFLOW_MEMORY_MIB, Container, Podman

THREADS = """
import pathlib, sys
print(len(list(pathlib.Path(f"/proc/{sys.argv[1]}/task").iterdir())))
"""


@pytest.fixture(scope="module")
def container(podman: Podman, serving_image: str, xception_bucket: Bucket) -> Iterator[Container]:
    """A container with one core that serves the demo model from S3; tests do not change its state."""
    running = Container(podman, serving_image, **xception_bucket.settings)  # type: ignore[arg-type]
    try:
        running.start()
        running.wait_for("/readyz")
        yield running
    finally:
        running.remove()


@pytest.fixture(scope="module")
def xception_eight(xception_golden: list[Path]) -> bytes:
    """A request with the image of an eight that the demo model recognises."""
    return predict_body(xception_golden[8])


def test_every_digit_is_recognised(container: Container, xception_golden: list[Path]) -> None:
    assert recognises_digits(container, xception_golden)


def test_it_is_healthy(podman: Podman, container: Container) -> None:
    assert podman.run("healthcheck", "run", container.name).stdout.strip() in {"", "healthy"}
    assert container.client.get("/metrics").text.count("xception_")


def test_only_two_folders_are_writable(podman: Podman, container: Container) -> None:
    for folder in ("/app", "/opt/venv", "/etc", "/var/lib"):
        done = podman.run("exec", container.name, "touch", f"{folder}/new", check=False)
        assert done.returncode != 0, folder
    container.within("touch", "/tmp/new", "/var/cache/xception/.new")
    status = dict(line.split(":", 1) for line in container.within("cat", "/proc/1/status").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


def test_threads_follow_the_quota(container: Container, serving_image: str, bucket: Bucket, started: Start) -> None:
    """The quota of the container is one core, independent of the machine."""
    count = "from engines.cpus import available_cpus; print(available_cpus())"
    assert container.within("python", "-c", count).strip() == "1"
    two = started(serving_image, cpus="2", **bucket.settings)
    two.wait_for("/readyz")
    if two.within("python", "-c", count).strip() != "2":
        pytest.skip("this machine has one core")
    threads = [int(one.within("python", "-c", THREADS, str(one.processes()["runner"]))) for one in (container, two)]
    assert threads[0] < threads[1], threads


def test_memory_stays_within_the_limit_under_load(container: Container, xception_eight: bytes) -> None:
    """Eight clients send small images, and two more send the largest that the service accepts, approximately."""
    before = container.processes()
    body = large_image()

    def send_large(_: int) -> int:
        return container.client.post("/classify", content=body).status_code

    with (
        Traffic(container.url, xception_eight, is_eight, timeout_ms=30_000) as traffic,
        ThreadPoolExecutor(2) as senders,
    ):
        traffic.wait_for_answers(20, seconds=120)
        seen = list(senders.map(send_large, range(10)))
        traffic.wait_for_answers(20, seconds=120)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    assert seen == [200] * 10
    assert container.state("OOMKilled") == "false"
    assert container.processes() == before
    peak = container.peak_mib()
    print(f"peak {peak:.0f} of {MEMORY_MIB} MiB")
    assert 200 < peak < MEMORY_MIB


def test_version_swaps_stay_within_the_memory_limit_of_a_pod(
    serving_image: str, ceph: Ceph, xception_package: Path, tmp_path: Path, started: Start, xception_eight: bytes
) -> None:
    """Two swaps under load, with the limits of deploy/base; each time two versions are in memory.

    Version n predicts a digit n - 1 higher than it is, which shows whether the version in a response is correct.
    """
    bucket = make_bucket(ceph, xception_package)
    owner = ceph.owner.environment(ceph.endpoint)
    store = ("--store", bucket.settings["MODEL_STORE_URL"])
    for shift in (1, 2):
        folder = derive_version(xception_package, tmp_path / str(shift), shift)
        run_module("model_store", "publish", str(folder), *store, "--model", "xception", **owner)
    cpus, memory_mib = pod_limits()
    settings = {"PRECISION": "fp32", "ADMIN_TOKEN": TOKEN, "MODEL_POLL_S": "0", "WARMUP_BUDGET_S": "3"}
    container = started(serving_image, cpus=cpus, memory_mib=memory_mib, **{**bucket.settings, **settings})
    container.wait_for("/readyz")
    before = container.processes()
    with Traffic(container.url, xception_eight, is_eight_of_its_version, timeout_ms=30_000) as traffic:
        for version in (2, 3):
            traffic.wait_for_answers(20, seconds=120)
            run_module("model_store", "label", "xception", "stable", str(version), *store, **owner)
            response = container.client.post(f"{MODEL}/reload", headers=AUTH)
            assert response.status_code == 200, response.text
            assert named_and_real(container.client.post(f"{MODEL}:predict", content=xception_eight)) == (
                version,
                version - 1,
            )
        traffic.wait_for_answers(20, seconds=120)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally
    assert container.state("OOMKilled") == "false"
    assert container.processes() == before
    peak = container.peak_mib()
    print(f"peak {peak:.0f} of {memory_mib} MiB")
    assert 200 < peak < memory_mib


def is_eight_of_its_version(response: httpx.Response) -> bool:
    version, shift = named_and_real(response)
    return shift == version - 1


def pod_limits() -> tuple[str, int]:
    """Return the limits of the server in deploy/base: CPUs, and memory in MiB."""
    deployment = yaml.safe_load((ROOT / "deploy" / "base" / "deployment.yaml").read_text())
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    limits = server["resources"]["limits"]
    number, unit = limits["memory"][:-2], limits["memory"][-2:]
    return limits["cpu"], int(number) * {"Mi": 1, "Gi": 1024}[unit]


def large_image() -> bytes:
    """Return a PNG of 50 megapixels; decoded it takes 150 MB."""
    image = io.BytesIO()
    Image.fromarray(np.zeros((5000, 10_000, 3), np.uint8)).save(image, "PNG")
    return image.getvalue()


def test_a_stop_under_load_completes_accepted_requests(
    serving_image: str, bucket: Bucket, started: Start, eight: bytes
) -> None:
    container = started(serving_image, **bucket.settings)
    container.wait_for("/readyz")
    stop_under_load(container, eight)


def test_a_stop_during_startup_is_immediate(serving_image: str, bucket: Bucket, started: Start) -> None:
    """As PID 1, BentoML would ignore the signal and be killed at the end of the grace period."""
    container = started(serving_image, **{**bucket.settings, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert container.stop() == 128 + 15


def test_after_a_restart_it_serves_from_its_volume_without_the_store(
    serving_image: str, bucket: Bucket, started: Start, golden: list[Path]
) -> None:
    with bucket.ceph.gateway() as (endpoint, _):
        container = started(serving_image, **{**bucket.settings, "AWS_ENDPOINT_URL": endpoint})
        container.wait_for("/readyz")
        assert container.stop() == 0
    before = len(container.log)
    container.again()
    container.wait_for("/readyz")
    assert best(container, golden[3]) == "3"
    assert "the store did not answer" in container.log[before:]


def test_without_a_volume_the_error_names_the_reason(podman: Podman, serving_image: str, bucket: Bucket) -> None:
    """The root file system is read-only, so there is no place for a version."""
    environment = [word for name, value in bucket.settings.items() for word in ("--env", f"{name}={value}")]
    words = ("run", "--rm", "--no-healthcheck", "--network", "host", "--read-only", *environment)
    done = podman.run(*words, serving_image, "python", "-m", "model_store", "pull", "xception", check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("error: /var/cache/xception"), done.stderr
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tensorflow_serves_the_same_model(
    tensorflow_image: str, xception_bucket: Bucket, started: Start, xception_golden: list[Path]
) -> None:
    settings = {**xception_bucket.settings, "ENGINE": "tensorflow", "PRECISION": "fp32"}
    container = started(tensorflow_image, cpus="2", memory_mib=TENSORFLOW_MEMORY_MIB, **settings)
    container.wait_for("/readyz")
    assert recognises_digits(container, xception_golden)
    assert "tensorflow/fp32" in container.log
    assert container.stop() == 0


def test_an_edge_uses_a_runner_in_another_container(
    serving_image: str, bucket: Bucket, started: Start, golden: list[Path]
) -> None:
    frames = str(free_port())
    runner = started(serving_image, serve="service.app:RunnerService", RUNNER_PORT=frames, **bucket.settings)
    runner.wait_for("/readyz")
    settings = {"RUNNER_URL": runner.url, "RUNNER_PORT": frames, **SHORT_WARM_UP}
    edge = started(serving_image, MODEL_STORE_URL=bucket.settings["MODEL_STORE_URL"], **settings)
    edge.wait_for("/readyz")
    assert best(edge, golden[5]) == "5"
