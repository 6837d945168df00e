"""Contents and configuration of the images."""

from __future__ import annotations

import pytest

from service.version import VERSION

from .files import sizes
from .podman import Podman

LARGE_BYTES = 5 * 2**20

MAX_SERVING_BYTES = 600e6
"""Target size of the image that a cluster pulls at every scale-up."""

LIBRARIES = (".so", ".dylib", ".a")

UNCOMPILED = """
import sys, service.edge.data_plane, engines.openvino
from importlib.util import cache_from_source
from pathlib import Path
found = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
files = [file for file in found if file.endswith(".py")]
assert len(files) > 300, len(files)
print([file for file in files if not Path(cache_from_source(file)).exists()])
"""


@pytest.fixture(scope="module", params=["serving_image", "tensorflow_image", "loadtest_image"])
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


@pytest.fixture(scope="module")
def files(podman: Podman, image: str) -> dict[str, int]:
    """All files of the image, with their sizes in bytes."""
    return sizes(podman, image)


def is_library(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(LIBRARIES) or ".so." in name


def test_no_weights(files: dict[str, int]) -> None:
    large = {path: size for path, size in files.items() if size > LARGE_BYTES and not is_library(path)}
    programs = {path for path in large if path.rpartition("/")[2].startswith("python3")}
    assert set(large) == programs, large
    endings = (".h5", ".keras", ".pb", ".onnx", ".bin", ".xml", ".tflite", ".ckpt", ".safetensors")
    ours = {path for path in files if path.startswith(("/app/", "/var/cache/xception", "/tmp/"))}
    assert ours
    assert not [path for path in ours if path.endswith(endings)]


def test_no_build_tools_and_build_files(files: dict[str, int]) -> None:
    programs = {path.rpartition("/")[2] for path in files if "/bin/" in path or "/sbin/" in path}
    assert not programs & {"gcc", "g++", "cc", "clang", "ld", "make", "cmake", "rustc", "cargo", "go", "git"}
    assert not [path for path in files if path.startswith("/opt/venv/") and "/site-packages/pip/" in path]
    assert not [path for path in files if "/.cache/" in path or path.startswith(("/opt/pip", "/requirements"))]
    assert not [path for path in files if path.startswith(("/run/secrets", "/etc/pip.conf"))]
    assert not [path for path in files if "/site-packages/" in path and "/tests/" in path]
    packages = {path.split("/")[2] for path in files if path.startswith("/app/")}
    assert packages in ({"service", "engines", "model_store"}, {"loadtest"})


def test_no_telemetry(files: dict[str, int]) -> None:
    assert not [path for path in files if "openvino_telemetry" in path]


def test_it_runs_as_an_unprivileged_user(podman: Podman, image: str) -> None:
    config = podman.inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["dumb-init", "--single-child", "--"]
    assert config["Cmd"][0] in {"bentoml", "locust"}
    assert not config.get("Volumes")
    assert podman.within(image, "id", "-u").strip() == "10001"


def test_labels(podman: Podman, image: str) -> None:
    labels = podman.inspect(image)["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == VERSION
    assert labels[f"{prefix}title"].startswith("xception-service")
    assert all(labels[f"{prefix}{name}"] for name in ("description", "revision", "base.name"))


def test_no_secret_and_no_index_url_in_its_history(podman: Podman, image: str) -> None:
    history = podman.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "dumb-init" in history
    assert "http" not in history.replace("http://127.0.0.1", "")
    environment = podman.inspect(image)["Config"]["Env"]
    assert not [entry for entry in environment if entry.split("=")[0].startswith(("PIP_", "AWS_"))]


def test_serving_is_small_and_has_no_tensorflow(podman: Podman, serving_image: str) -> None:
    assert podman.inspect(serving_image)["Size"] <= MAX_SERVING_BYTES
    script = "import importlib.util as u; print([n for n in ('tensorflow', 'keras', 'locust') if u.find_spec(n)])"
    assert podman.within(serving_image, "python", "-c", script).strip() == "[]"


def test_the_service_has_bytecode(podman: Podman, serving_image: str) -> None:
    """With a read-only root file system each start would compile again, which doubles its time."""
    assert podman.within(serving_image, "python", "-c", UNCOMPILED).strip() == "[]"


def test_the_health_check_is_the_liveness_probe(podman: Podman, serving_image: str) -> None:
    words = podman.inspect(serving_image)["Healthcheck"]["Test"]
    assert words[0] == "CMD"
    assert "/livez" in words[-1]


def test_locust_finds_its_scenarios(podman: Podman, loadtest_image: str) -> None:
    said = podman.within(loadtest_image, "locust", "-f", "loadtest/locustfile.py", "--list")
    assert "Available Users" in said
