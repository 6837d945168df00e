"""The documentation is current: generated parts, settings in the README, and paths. Sphinx checks links and anchors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.reference_pages import PAGES, ROOT, render
from service.settings import settings_table

REFERENCE = sorted(PAGES.glob("*.md"))

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

IGNORED = {"build", "dist"}

FOLDERS = "|".join({path.name for path in ROOT.glob("[a-z]*/") if path.is_dir()} - IGNORED)
"""The folders of the repository, without what builds leave behind."""

PLACEHOLDERS = re.compile(r"\b(NAME|NNNN)\b")
"""Stand for a name that a reader chooses."""


def paths_named_in(text: str) -> set[str]:
    """Return what stands in backticks and is a path below one of the repository's folders."""
    found = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text)
    return {path for path in found if not PLACEHOLDERS.search(path)}


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_generated_parts_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert render(text) == text, "run python scripts/reference_pages.py"


def test_what_can_be_generated_is_generated() -> None:
    blocks = [re.findall(r"<!-- generated: (\w+) -->", page.read_text(encoding="utf-8")) for page in REFERENCE]
    assert sorted(name for names in blocks for name in names) == ["commands", "errors", "metrics", "settings"]


def test_settings_of_the_readme_exist_with_their_defaults() -> None:
    defaults = re.compile(r"^\| `([A-Z_]+)` \| ([^|]+) \|", re.MULTILINE)
    shown = dict(defaults.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(shown) == 10
    assert shown.items() <= dict(defaults.findall(settings_table())).items()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(document: Path) -> None:
    missing = {path for path in paths_named_in(document.read_text(encoding="utf-8")) if not (ROOT / path).exists()}
    assert not missing


def test_a_path_that_does_not_exist_is_found() -> None:
    assert paths_named_in("`tests/nowhere.py`, `engines/NAME.py`, `s3://x/y`, `bentoml/serve.py`") == {
        "tests/nowhere.py"
    }
