"""The version stands in `service/version.py`, and everything that cannot read it there agrees with it."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from service.version import VERSION
from tests.server import ROOT

IMAGE = re.compile(r"\bxception-service(?:-[a-z]+)*:(\d+\.\d+[\w.]*)|\bVERSION=(\d+\.\d+[\w.]*)")
TAG = re.compile(r'\bnewTag: "?([^"\s]+)')


def tracked(*patterns: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_package_takes_its_version_from_there() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert document["project"]["dynamic"] == ["version"]
    assert document["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "service.version.VERSION"}


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        (TAG, ("deploy/*.yaml",)),
        (IMAGE, ("README.md", "Dockerfile", "docs/*.md", "deploy/*", "scripts/*")),
    ],
)
def test_every_image_that_is_named_has_it(pattern: re.Pattern[str], files: tuple[str, ...]) -> None:
    found = {
        f"{name}: {match.group()}": next(filter(None, match.groups()))
        for name in tracked(*files)
        for match in pattern.finditer((ROOT / name).read_text(encoding="utf-8"))
    }
    assert len(found) > 3
    assert {where: version for where, version in found.items() if version != VERSION} == {}
