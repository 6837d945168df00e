"""The ConfigMap has every setting of the service, with its default, and the service takes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from service.settings import Settings
from tests.server import ROOT

from .manifests import DEPLOY, find, overlay

FILE = DEPLOY / "base" / "settings.env"

HERE = {"MODEL_STORE_URL", "MODEL_CACHE_DIR", "LOG_FORMAT"}
"""What is not as the service would have it by itself."""

BESIDE = {"AWS_REGION"}
"""What overlays set for the store's library."""


def written() -> dict[str, str]:
    """Return what the file sets."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def unset() -> set[str]:
    """Return what the file says has no default."""
    return set(re.findall(r"^#unset (\w+)$", FILE.read_text(), re.MULTILINE))


def test_every_setting_stands_there() -> None:
    assert set(written()) | unset() == {name.upper() for name in Settings.model_fields}
    assert not set(written()) & unset()


def test_no_default_is_left_out_or_changed() -> None:
    for name, field in Settings.model_fields.items():
        if name.upper() in HERE:
            continue
        if field.default is None:
            assert name.upper() in unset()
        else:
            value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert written()[name.upper()] == value, name


@pytest.mark.parametrize("name", ["local", "production", "gpu"])
def test_the_service_takes_it(name: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    assert set(settings) - BESIDE <= {name.upper() for name in Settings.model_fields}
    code = "from service.settings import load_settings; print(load_settings().model_dump_json())"
    bare = {key: value for key, value in os.environ.items() if key.lower() not in Settings.model_fields}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**bare, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)
    for key, value in settings.items():
        if key not in BESIDE:
            assert str(taken[key.lower()]).lower() == value.lower()
