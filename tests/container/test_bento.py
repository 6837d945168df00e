"""The image of `bentoml build` and `bentoml containerize` has the same files and behaviour as `serving`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import free_port

from .behaviour import best, recognises_digits, stop_under_load
from .conftest import SHORT_WARM_UP, Bucket, Start
from .files import contents
from .podman import MEMORY_MIB, Container, Podman

BENTO = "/home/bentoml/bento/"

OF_BENTOML = {"LANG", "LC_ALL", "PYTHONIOENCODING", "BENTO_PATH", "BENTOML_HF_CACHE_DIR"}
"""Variables that only BentoML's own Dockerfile sets."""

LABEL = "org.opencontainers.image."


@pytest.fixture(scope="module")
def container(podman: Podman, bento_image: str, bucket: Bucket) -> Iterator[Container]:
    """A container with the default command of its image."""
    running = Container(podman, bento_image, serve=None, **bucket.settings)  # type: ignore[arg-type]
    try:
        running.start()
        running.wait_for("/readyz")
        yield running
    finally:
        running.remove()


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    """Return the files below a folder, by their relative paths."""
    return {path.removeprefix(folder): value for path, value in files.items() if path.startswith(folder)}


def test_its_files_are_those_of_serving(podman: Podman, bento_image: str, serving_image: str) -> None:
    """Together with test_image.py this means: no weights, no compiler, no pip, and the same size."""
    served, bento = contents(podman, serving_image), contents(podman, bento_image)
    # Except for the code, which is in another folder, and for user and host names.
    apart = ("/app/", "/home/", "/etc/")
    common = [{path: files[path] for path in files if not path.startswith(apart)} for files in (served, bento)]
    assert common[0] == common[1]
    for package, fewest in (("service/", 20), ("model_store/", 20), ("engines/", 5)):
        code = below(f"/app/{package}", served)
        assert len(code) > fewest
        assert code == below(f"{BENTO}src/{package}", bento)
    assert {path.partition("/")[0] for path in below(BENTO, bento)} == {"README.md", "apis", "bento.yaml", "env", "src"}
    assert "/etc/pip.conf" not in bento


def test_its_configuration_is_that_of_serving(podman: Podman, bento_image: str, serving_image: str) -> None:
    served, bento = podman.inspect(serving_image), podman.inspect(bento_image)
    assert bento["Healthcheck"] == served["Healthcheck"]
    before, after = served["Config"], bento["Config"]
    assert after["Entrypoint"] == [*before["Entrypoint"], f"{BENTO}env/docker/entrypoint.sh"]
    for name in ("User", "ExposedPorts", "Volumes"):
        assert after.get(name) == before.get(name), name
    wanted, found = (dict(entry.split("=", 1) for entry in config["Env"]) for config in (before, after))
    assert {name: value for name, value in found.items() if name not in OF_BENTOML} == wanted
    assert set(after["Labels"]) == set(before["Labels"])
    for label in ("version", "revision", "base.name"):
        assert after["Labels"][f"{LABEL}{label}"] == before["Labels"][f"{LABEL}{label}"]


def test_it_contains_no_secret_and_no_index_url(podman: Podman, bento_image: str) -> None:
    """Packages are installed in another stage, and the files that BentoML adds name no package index."""
    history = podman.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", bento_image).stdout
    assert "dumb-init" in history
    assert "/opt/pip" not in history
    assert "http" not in history.replace("http://127.0.0.1", "")
    script = f"cd {BENTO} && find bento.yaml env src/requirements -type f -exec cat {{}} +"
    written = [line.strip() for line in podman.within(bento_image, "sh", "-c", script).splitlines()]
    assert "bentoml==1" in "".join(written)
    lines = [line for line in written if not line.startswith("#")]
    assert not [line for line in lines if "://" in line.replace("http://127.0.0.1", "")]
    assert not [line for line in lines if line.startswith(("--index", "--extra-index", "--find-links", "--trusted"))]


def test_every_digit_is_recognised(container: Container, golden: list[Path]) -> None:
    assert recognises_digits(container, golden)


def test_it_serves_the_bento_within_its_limits(podman: Podman, container: Container) -> None:
    assert f'from "{BENTO.rstrip("/")}"' in container.wait_for_log("Starting production HTTP BentoServer")
    assert podman.run("healthcheck", "run", container.name).stdout.strip() in {"", "healthy"}
    assert container.within("id", "-u").strip() == "10001"
    status = dict(line.split(":", 1) for line in container.within("cat", "/proc/1/status").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    for folder in (BENTO, "/opt/venv", "/var/lib"):
        assert podman.run("exec", container.name, "touch", f"{folder}/new", check=False).returncode != 0, folder
    assert container.peak_mib() < MEMORY_MIB


def test_a_killed_runner_is_restarted(container: Container, golden: list[Path]) -> None:
    """With BENTOML_CONTAINERIZED, which BentoML's own Dockerfile sets, BentoML would exit instead."""
    before = container.processes()
    container.within("sh", "-c", f"kill -KILL {before['runner']}")
    container.wait(
        "another runner runs", lambda: container.processes().get("runner", before["runner"]) != before["runner"]
    )
    container.wait_for("/readyz")
    assert best(container, golden[4]) == "4"
    assert container.processes()["edge"] == before["edge"]


def test_an_edge_uses_a_runner_in_another_container(
    bento_image: str, bucket: Bucket, started: Start, golden: list[Path]
) -> None:
    """The commands in deploy/ find the code in this image, too."""
    frames = str(free_port())
    runner = started(bento_image, serve="service.app:RunnerService", RUNNER_PORT=frames, **bucket.settings)
    runner.wait_for("/readyz")
    assert "xception" in runner.within("python", "-m", "model_store", "show", "xception")
    settings = {"RUNNER_URL": runner.url, "RUNNER_PORT": frames, **SHORT_WARM_UP}
    edge = started(bento_image, serve=None, MODEL_STORE_URL=bucket.settings["MODEL_STORE_URL"], **settings)
    edge.wait_for("/readyz")
    assert best(edge, golden[5]) == "5"


def test_a_stop_under_load_completes_accepted_requests(container: Container, eight: bytes) -> None:
    """Runs last, because it stops the shared container."""
    stop_under_load(container, eight)
