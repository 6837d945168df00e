"""The ConfigMap contains every setting with its default, and the service accepts it."""

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

DIFFERENT = {"MODEL_STORE_URL", "MODEL_CACHE_DIR", "LOG_FORMAT"}
"""Settings whose value is not the default."""

OTHER_VARIABLES = {"AWS_REGION"}
"""Variables of the store's library that overlays set."""


def defined() -> dict[str, str]:
    """Return the settings that the file defines."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def unset() -> set[str]:
    """Return the settings that the file lists as without default."""
    return set(re.findall(r"^#unset (\w+)$", FILE.read_text(), re.MULTILINE))


def test_every_setting_is_listed() -> None:
    assert set(defined()) | unset() == {name.upper() for name in Settings.model_fields}
    assert not set(defined()) & unset()


def test_all_other_values_are_the_defaults() -> None:
    for name, field in Settings.model_fields.items():
        if name.upper() in DIFFERENT:
            continue
        if field.default is None:
            assert name.upper() in unset()
        else:
            value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert defined()[name.upper()] == value, name


@pytest.mark.parametrize("name", ["local", "production", "gpu"])
def test_the_service_accepts_it(name: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    assert set(settings) - OTHER_VARIABLES <= {name.upper() for name in Settings.model_fields}
    code = "from service.settings import load_settings; print(load_settings().model_dump_json())"
    bare = {key: value for key, value in os.environ.items() if key.lower() not in Settings.model_fields}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**bare, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    for key, value in settings.items():
        if key not in OTHER_VARIABLES:
            assert str(loaded[key.lower()]).lower() == value.lower()
