from __future__ import annotations

import pytest

from service.settings import Settings, load_settings, settings_table
from tests.server import ROOT


def test_the_table_of_the_readme_is_the_one_of_the_settings() -> None:
    assert settings_table() in (ROOT / "README.md").read_text(encoding="utf-8")


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
