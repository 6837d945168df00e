from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.__main__ import main

from .conftest import Store
from .samples import FILES, contents, parts, run_cli, start_python, visible

INTERRUPTED_PULL = """
    import sys, time
    from model_store.__main__ import main
    from model_store.remote import Remote

    stream = Remote.stream

    def slow(self, path):
        for number, block in enumerate(stream(self, path)):
            if number == 3:
                print("in the middle", flush=True)
            time.sleep(0.2 if number else 0)
            yield block

    Remote.stream = slow
    sys.exit(main(sys.argv[1:]))
"""


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_whole_life(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_STORE_URL", store.url)
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache"))

    code, out, err = run("publish", str(folder), "--model", "xception", "--label", "stable", capsys=capsys)
    assert (code, out.splitlines()[0]) == (0, "Published xception:1, labelled stable")
    assert "Publishing xception:1: 19.1 MiB in" in err

    code, out, err = run("publish", str(folder), "--model", "xception", "--json", capsys=capsys)
    assert (code, err) == (0, "")
    assert json.loads(out)["version"] == 2

    code, out, _ = run("versions", "xception", capsys=capsys)
    assert code == 0
    header, one, two = out.splitlines()
    assert header.split() == ["VERSION", "CREATED", "SIZE", "ACCURACY", "LABELS"]
    assert one.split() == ["1", "2026-01-02", "03:04", "19.1", "MiB", "0.875", "stable"]
    assert two.endswith("–")

    code, out, _ = run("show", "xception", capsys=capsys)
    assert code == 0
    assert out.startswith("xception:1  stable\n")
    assert "tensorflow/fp32" in out

    code, out, _ = run("show", "xception:2", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["manifest"]["architecture"] == "xception"

    code, out, _ = run("label", "xception:2", "stable", capsys=capsys)
    assert (code, out) == (0, "xception:stable is version 2 now\n")

    code, out, _ = run("pull", "xception", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["version"] == 2
    pulled = Path(json.loads(out)["path"])
    assert pulled.is_relative_to(tmp_path / "cache")
    assert contents(pulled) == contents(folder)

    code, out, _ = run("pull", "xception:1", "--output", str(tmp_path / "new"), capsys=capsys)
    assert code == 0
    assert contents(tmp_path / "new") == contents(folder)

    for target in (str(folder), "xception", "xception:1"):
        code, out, _ = run("verify", target, "--quiet", capsys=capsys)
        assert (code, out) == (0, f"{target.replace('xception', 'xception:2') if target == 'xception' else target}"
                                  f": all {len(FILES)} files are what the manifest says\n")  # fmt: skip

    code, out, _ = run("models", "--json", capsys=capsys)
    assert json.loads(out) == {"models": ["xception"]}


def test_failures_of_a_store(store: Store, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--store", store.url, "--quiet")
    assert run("publish", str(small), "--model", "xception", "--label", "stable", *at, capsys=capsys)[0] == 0
    cases = [
        (("show", "xception:canary"), 3, "model 'xception' has no label 'canary'; it has: stable"),
        (("pull", "xception:9"), 3, "model 'xception' has no version 9; it has: 1"),
        (("versions", "other"), 3, "holds no model 'other'; it holds: xception"),
        (("show", "a:b:c"), 2, "'b:c' is no label name"),
        (("publish", str(tmp_path / "none"), "--model", "x"), 3, "there is no such folder"),
        (("publish", str(small), "--model", "a/b"), 2, "'a/b' is no model name"),
        (("pull", "xception", "--output", str(small)), 2, "exists already"),
        (("verify", "./none"), 2, "there is no such folder"),
    ]
    for words, expected, says in cases:
        code, out, err = run(*words, *at, capsys=capsys)
        assert (code, out) == (expected, "")
        assert says in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        code, out, err = run(*words, *at, "--json", capsys=capsys)
        assert json.loads(out)["exit_code"] == code == expected
        assert says in json.loads(out)["error"]

    store.open().put_overwrite("xception/1/golden/pixels.npy", b"PIXELS")
    code, _, err = run("verify", "xception", *at, capsys=capsys)
    assert code == 4
    assert "golden/pixels.npy: expected sha256" in err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "xception"], 2, "give --store URL, or set MODEL_STORE_URL"),
        (["verify", "xception"], 2, "there is no such folder; for a version in a store give --store URL"),
        (["show", "xception", "--store", "gs://b"], 2, "supported are file:// and s3://"),
        (["show", "xception", "--store", "file:///no/such/store"], 3, "there is no such folder"),
        (["nonsense"], 2, "invalid choice"),
        ([], 2, "COMMAND"),
        (["pull", "x", "--output", "a", "--cache", "b"], 2, "not allowed with"),
    ],
)
def test_usage(words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, out, err = run(*words, capsys=capsys)
    assert (found, out) == (code, "")
    assert says in err
    found, out, _ = run(*words, "--json", capsys=capsys)
    assert json.loads(out)["exit_code"] == found == code


def test_a_local_folder_that_was_changed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "saved_model.pb").write_bytes(b"graph")
    code, _, err = run("verify", str(small), capsys=capsys)
    assert code == 4
    assert "saved_model.pb: expected 5000 bytes, found 5" in err


def test_as_a_process(file_store: Store, small: Path) -> None:
    done = run_cli("publish", str(small), "--model", "xception", "--store", file_store.url)
    assert done.returncode == 0, done.stderr
    done = run_cli("pull", "xception:beta", "--store", file_store.url)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "--store URL" in run_cli("publish", "--help").stdout


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
    assert visible(tmp_path / "cache") == []
    assert parts(tmp_path) == []


def test_a_reader_that_leaves_is_no_traceback(file_store: Store, small: Path) -> None:
    assert main(["publish", str(small), "--model", "xception", "--store", file_store.url, "--quiet"]) == 0
    command = f"'{sys.executable}' -m model_store show xception:1 --store '{file_store.url}' | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_help_needs_neither_the_store_library_nor_a_framework() -> None:
    code = (
        "import sys; from model_store.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "found = {'obstore', 'tqdm', 'keras', 'bentoml', 'service', 'starlette'} & set(sys.modules)\n"
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
