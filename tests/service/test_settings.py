from __future__ import annotations

import json
import subprocess
import sys

import pytest

from service.settings import Settings, load_settings
from tests.server import ROOT


def test_every_setting_says_what_it_does() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_MAX_IMAGES", "512")
    monkeypatch.setenv("MODEL_VERSION", "7")
    settings = load_settings()
    assert (settings.queue_max_images, settings.model_version) == (512, "7")
    with pytest.raises(Exception, match="frozen"):
        settings.top_k = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("QUEUE_MAX_IMAGES", "0", "Settings: QUEUE_MAX_IMAGES=0: Input should be greater than or equal to 1"),
        ("ENGINE", "torch", "Settings: ENGINE: 'torch' is not one of 'auto', 'openvino', 'tensorflow'"),
        ("MODEL_VERSION", "07", "Settings: MODEL_VERSION: '07' is not a version"),
        ("TOP_K", "0", "Settings: TOP_K=0: Input should be greater than or equal to 1"),
        ("MODEL_VERSION", "No", "Settings: MODEL_VERSION: 'No' is not a label name"),
        ("MODEL_STORE_URL", "foo", "Settings: MODEL_STORE_URL: 'foo' is not a store URL"),
        ("MODEL_PUBLIC_KEY", "/nowhere.pub", "Settings: MODEL_PUBLIC_KEY: /nowhere.pub: the key cannot be read"),
        ("MODEL_PUBLIC_KEY", "README.md", "Settings: MODEL_PUBLIC_KEY: README.md: is not a public key"),
        ("MAX_INSTANCES", "1000", "Settings: MAX_INSTANCES: must not be larger than QUEUE_MAX_IMAGES"),
        ("ADMIN_TOKEN", "secret", "Settings: ADMIN_TOKEN: String should have at least 16 characters"),
    ],
)
def test_what_cannot_work_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load_settings()
    text = str(stopped.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert "secret" not in text


def test_reading_the_settings_loads_little() -> None:
    """Command lines read them, too: no metrics, no engine, no web framework, no images."""
    code = "import json, sys; import service.settings; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = {"prometheus_client", "openvino", "tensorflow", "keras", "starlette", "uvicorn", "bentoml", "circus", "PIL"}
    assert not loaded & heavy
    service = {name for name in loaded if name.startswith("service.")}
    assert service == {"service.settings", "service.core", "service.core.key_file"}
