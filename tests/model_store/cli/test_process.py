"""The command line as a process: its exit status, its streams, Ctrl-C, and what it imports."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from model_store.cli.app import main
from tests.model_store.conftest import Store
from tests.model_store.samples import run_cli, start_python, visible

INTERRUPTED_PULL = """
    import os, sys, time
    from model_store.cli.app import main
    from model_store.trust.verify import FileCheck

    update, blocks = FileCheck.update, []

    def slow(self, block):
        update(self, block)
        blocks.append(len(block))
        if sum(blocks) > 2**20:
            os.write(1, b"in the middle\\n")  # in one piece, from several threads
            time.sleep(0.5)

    FileCheck.update = slow
    sys.exit(main(sys.argv[1:]))
"""


def test_as_a_process(file_store: Store, small: Path) -> None:
    done = run_cli("publish", str(small), "--model", "xception", "--store", file_store.url)
    assert done.returncode == 0, done.stderr
    done = run_cli("pull", "xception:beta", "--store", file_store.url)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    done = run_cli("history", "xception", "--store", file_store.url)
    assert done.returncode == 3
    assert "has no labels; name a version: 1" in done.stderr


def test_ctrl_c_leaves_nothing_half_written(file_store: Store, folder: Path, tmp_path: Path) -> None:
    assert main(["publish", str(folder), "--model", "xception", "--store", file_store.url, "--quiet"]) == 0
    for where in (["--output", str(tmp_path / "out" / "new")], ["--cache", str(tmp_path / "cache")]):
        process = start_python(INTERRUPTED_PULL, "pull", "xception:1", "--store", file_store.url, *where)
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "interrupted" in err
        assert "Traceback" not in err
    assert list((tmp_path / "out").iterdir()) == []
    # What was on its way may stay below a hidden folder, for the next pull to go on with.
    assert visible(tmp_path / "cache") == []


def test_a_reader_that_leaves_is_no_traceback(file_store: Store, small: Path) -> None:
    assert main(["publish", str(small), "--model", "xception", "--store", file_store.url, "--quiet"]) == 0
    command = f"'{sys.executable}' -m model_store show xception:1 --store '{file_store.url}' | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_help_needs_neither_the_store_library_nor_a_framework() -> None:
    code = (
        "import sys; from model_store.cli.app import main\n"
        "main(['--help'])\n"
        "found = {'obstore', 'tqdm', 'keras', 'bentoml', 'service', 'starlette'} & set(sys.modules)\n"
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
