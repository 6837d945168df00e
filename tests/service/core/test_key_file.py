from __future__ import annotations

from pathlib import Path

import pytest

from service.core.key_file import KeyEntry, read_keys

HASH = "0" * 64


def test_a_key_has_a_hash_and_optionally_a_rate_and_a_priority(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(f'{{"keys": [{{"name": "shop", "sha256": "{HASH}"}}]}}')
    (entry,) = read_keys(file).keys
    assert entry == KeyEntry(name="shop", sha256=HASH, images_per_second=None, priority="interactive")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "the file"),
        ("{}", "keys"),
        (f'{{"keys": [{{"name": "-", "sha256": "{HASH}"}}]}}', "keys.0.name"),
        ('{"keys": [{"name": "shop", "sha256": "secret"}]}', "keys.0.sha256"),
        (f'{{"keys": [{{"name": "a", "sha256": "{HASH}", "images_per_second": 0}}]}}', "keys.0.images_per_second"),
        (f'{{"keys": [{{"name": "a", "sha256": "{HASH}", "rate": 1}}]}}', "keys.0.rate"),
    ],
)
def test_an_error_names_the_file_and_the_field_and_no_value(tmp_path: Path, text: str, field: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"keys\.json") as error:
        read_keys(file)
    assert f"{file}: {field}: " in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_keys(tmp_path / "none.json")
