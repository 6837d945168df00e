"""The image of `bentoml build` and `bentoml containerize`: the same as `serving` in what it holds and what it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import free_port

from .conduct import best, recognises_digits, stop_under_load
from .conftest import SHORT_WARM_UP, Bucket, Start
from .files import contents
from .podman import MEMORY_MIB, Container, Podman

BENTO = "/home/bentoml/bento/"

OF_BENTOML = {"LANG", "LC_ALL", "PYTHONIOENCODING", "BENTO_PATH", "BENTOML_HF_CACHE_DIR"}
"""Variables that BentoML's own Dockerfile sets, and ours does not."""

LABEL = "org.opencontainers.image."


@pytest.fixture(scope="module")
def container(podman: Podman, bento_image: str, bucket: Bucket) -> Iterator[Container]:
    """One that was told nothing but its settings."""
    running = Container(podman, bento_image, serve=None, **bucket.settings)  # type: ignore[arg-type]
    try:
        running.start()
        running.wait_for("/readyz")
        yield running
    finally:
        running.remove()


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    """Return the files below a folder, by what follows its name."""
    return {path.removeprefix(folder): value for path, value in files.items() if path.startswith(folder)}


def test_its_files_are_those_of_serving(podman: Podman, bento_image: str, serving_image: str) -> None:
    """So there are no weights, no compiler and no pip in it, and it is as small: test_image.py has looked there."""
    served, bento = contents(podman, serving_image), contents(podman, bento_image)
    # But for the code, which is elsewhere, and names of accounts and of the machine.
    apart = ("/app/", "/home/", "/etc/")
    common = [{path: files[path] for path in files if not path.startswith(apart)} for files in (served, bento)]
    assert common[0] == common[1]
    for package, fewest in (("service/", 20), ("model_store/", 20), ("engines/", 5)):
        code = below(f"/app/{package}", served)
        assert len(code) > fewest
        assert code == below(f"{BENTO}src/{package}", bento)
    assert {path.partition("/")[0] for path in below(BENTO, bento)} == {"README.md", "apis", "bento.yaml", "env", "src"}
    assert "/etc/pip.conf" not in bento


def test_it_is_started_and_looked_at_as_serving_is(podman: Podman, bento_image: str, serving_image: str) -> None:
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


def test_no_secret_and_no_address_in_it(podman: Podman, bento_image: str) -> None:
    """The packages were installed in another stage; what BentoML wrote down names no index."""
    history = podman.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", bento_image).stdout
    assert "dumb-init" in history
    assert "/opt/pip" not in history
    assert "http" not in history.replace("http://127.0.0.1", "")
    script = f"cd {BENTO} && find bento.yaml env src/requirements -type f -exec cat {{}} +"
    written = [line.strip() for line in podman.within(bento_image, "sh", "-c", script).splitlines()]
    assert "bentoml==1" in "".join(written)
    told = [line for line in written if not line.startswith("#")]
    assert not [line for line in told if "://" in line.replace("http://127.0.0.1", "")]
    assert not [line for line in told if line.startswith(("--index", "--extra-index", "--find-links", "--trusted"))]


def test_every_digit_is_recognised(container: Container, golden: list[Path]) -> None:
    assert recognises_digits(container, golden)


def test_it_serves_the_bento_within_the_bounds(podman: Podman, container: Container) -> None:
    assert f'from "{BENTO.rstrip("/")}"' in container.wait_for_log("Starting production HTTP BentoServer")
    assert podman.run("healthcheck", "run", container.name).stdout.strip() in {"", "healthy"}
    assert container.within("id", "-u").strip() == "10001"
    status = dict(line.split(":", 1) for line in container.within("cat", "/proc/1/status").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    for folder in (BENTO, "/opt/venv", "/var/lib"):
        assert podman.run("exec", container.name, "touch", f"{folder}/new", check=False).returncode != 0, folder
    assert container.peak_mib() < MEMORY_MIB


def test_a_runner_that_was_killed_is_replaced(container: Container, golden: list[Path]) -> None:
    """BentoML would end instead, had its own Dockerfile told it that it runs in a container."""
    before = container.processes()
    container.within("sh", "-c", f"kill -KILL {before['runner']}")
    container.wait(
        "another runner runs", lambda: container.processes().get("runner", before["runner"]) != before["runner"]
    )
    container.wait_for("/readyz")
    assert best(container, golden[4]) == "4"
    assert container.processes()["edge"] == before["edge"]


def test_a_runner_alone_feeds_an_edge(bento_image: str, bucket: Bucket, started: Start, golden: list[Path]) -> None:
    """What `deploy/` tells the images to start finds the code here, too."""
    frames = str(free_port())
    runner = started(bento_image, serve="service.app:RunnerService", RUNNER_PORT=frames, **bucket.settings)
    runner.wait_for("/readyz")
    assert "xception" in runner.within("python", "-m", "model_store", "show", "xception")
    settings = {"RUNNER_URL": runner.url, "RUNNER_PORT": frames, **SHORT_WARM_UP}
    edge = started(bento_image, serve=None, MODEL_STORE_URL=bucket.settings["MODEL_STORE_URL"], **settings)
    edge.wait_for("/readyz")
    assert best(edge, golden[5]) == "5"


def test_told_to_stop_under_load_it_answers_what_it_has_taken(container: Container, eight: bytes) -> None:
    """The last one here, as the container ends."""
    stop_under_load(container, eight)
