"""The console script: what it offers, that it is quick, and that it is the programs behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import settings_table
from service.version import VERSION
from tests.server import ROOT

COMMANDS = ("keys", "loadtest", "model", "settings", "training")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xception_service", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_lists_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_help_and_version_import_no_part_of_the_project() -> None:
    code = (
        "import sys; from xception_service.__main__ import app\n"
        "for words in (['--help'], ['--version']): app(words, standalone_mode=False)\n"
        "heavy = {'numpy', 'pydantic', 'bentoml', 'openvino', 'tensorflow', 'model_store', 'training', 'loadtest'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"xception-service, version {VERSION}\n")


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("model", "pull"), "model pull [OPTIONS] NAME[:REF]"),
        (("training", "train"), "training train [OPTIONS]"),
        (("keys", "add"), "keys add [OPTIONS] NAME"),
    ],
)
def test_a_command_has_the_help_of_its_program(arguments: tuple[str, ...], usage: str) -> None:
    done = run(*arguments, "--help")
    assert done.stdout.startswith(f"Usage: python -m xception_service {usage}\n"), done.stderr


def test_a_command_ends_as_its_program_does(tmp_path: Path) -> None:
    done = run("model", "show", "xception", "--store", f"file://{tmp_path}/none")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: file://")
    done = run("model", "show")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.endswith("see python -m xception_service model show --help\n")
    done = run("training", "export", "/none", "--output", str(tmp_path / "new"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = run("keys", "remove", "nobody", "--file", str(tmp_path / "keys.json"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = run("loadtest", "--scenario", "nothing")
    assert done.returncode == 2
    assert "invalid choice: 'nothing'" in done.stderr


def test_settings_are_those_of_the_documents() -> None:
    assert run("settings").stdout == settings_table() + "\n"
