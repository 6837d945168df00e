from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from model_store.catalog.author import author
from model_store.cli.app import app, main
from tests.model_store.conftest import Store
from tests.model_store.samples import FILES, contents, write_version


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
    assert (json.loads(out)["version"], json.loads(out)["same_as"]) == (2, 1)

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

    code, out, _ = run("label", "xception", "stable", "2", capsys=capsys)
    assert (code, out) == (0, "xception:stable is version 2 now\n")

    code, out, _ = run("pull", "xception", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["version"] == 2
    pulled = Path(json.loads(out)["path"])
    assert pulled.is_relative_to(tmp_path / "cache")
    assert contents(pulled) == contents(folder)

    serving = ("--variant", "tensorflow/fp32", "--cache", str(tmp_path / "serving"))
    code, out, _ = run("pull", "xception", *serving, "--json", capsys=capsys)
    assert code == 0
    brought = contents(Path(json.loads(out)["path"])).keys()
    assert brought & FILES.keys() == {"saved_model.pb", "golden/pixels.npy", "golden/scores.npy"}

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
        (("show", "a:b:c"), 2, "'b:c' is not a label name"),
        (("show", "a:sha256:12"), 2, "'sha256:12' is not a digest of a manifest"),
        (("pull", f"xception:sha256:{0:064x}"), 3, "has no version with the manifest"),
        (("label", "xception", "canary", "9"), 3, "model 'xception' has no version 9; it has: 1"),
        (("label", "xception", "canary", "beta"), 3, "model 'xception' has no label 'beta'; it has: stable"),
        (("label", "xception:1", "canary", "1"), 2, "'xception:1' is not a model name"),
        (("label", "xception", "canary", "1", "--note", "a\nb"), 2, "a note is one line"),
        (("publish", str(small), "--model", "xception", "--note", "why"), 2, "so it needs --label LABEL"),
        (("rollback", "xception", "stable"), 3, "nothing to go back to"),
        (("unlabel", "xception", "beta"), 3, "no label 'beta'; it has: stable"),
        (("unlabel", "xception", "3"), 2, "'3' is not a label name"),
        (("rollback", "xception", "beta"), 3, "no label 'beta'; it has: stable"),
        (("history", "other"), 3, "holds no model 'other'; it holds: xception"),
        (("history", "xception", "--label", "beta"), 3, "never had a label 'beta'"),
        (("prune", "other", "--keep", "1"), 3, "holds no model 'other'; it holds: xception"),
        (("prune", "xception", "--keep", "0"), 2, "at least the newest version stays"),
        (("publish", str(tmp_path / "none"), "--model", "x"), 3, "there is no such folder"),
        (("publish", str(small), "--model", "a/b"), 2, "'a/b' is not a model name"),
        (("pull", "xception", "--output", str(small)), 2, "exists already"),
        (
            ("pull", "xception", "--variant", "openvino/int4"),
            3,
            "--variant openvino/int4: the version has tensorflow/fp32",
        ),
        (("pull", "xception", "--variant", "openvino/fp32", "--output", "new"), 2, "--variant is for the cache"),
        (("verify", "./none"), 3, "there is no such folder"),
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
        (["show", "xception", "--store", "ftp://b"], 2, "is not a store URL: supported are "),
        (["show", "xception", "--store", "/a b/store"], 2, "as in file:///a%20b/store for this folder"),
        (["show", "xception", "--store", "file:///no/such/store"], 3, "there is no such folder"),
        (["nonsense"], 2, "No such command 'nonsense'; see python -m model_store --help"),
        ([], 2, "Missing command; see"),
        (["pull", "x", "--output", "a", "--cache", "b"], 2, "--cache is not allowed with --output"),
        (["label", "xception:1", "stable"], 2, "Missing argument 'VERSION'; see python -m model_store label --help"),
        (["prune", "xception"], 2, "Missing option '--keep'"),
        (["prune", "xception", "--keep", "many"], 2, "'many' is not a valid integer"),
    ],
)
def test_usage(
    words: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where no store lies
    found, out, err = run(*words, capsys=capsys)
    assert (found, out) == (code, "")
    assert says in err
    found, out, _ = run(*words, "--json", capsys=capsys)
    assert json.loads(out)["exit_code"] == found == code


def test_labels_go_forth_and_back(
    store: Store, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_STORE_URL", store.url)

    def answer(*words: str) -> str:
        code, out, err = run(*words, "--quiet", capsys=capsys)
        assert (code, err) == (0, "")
        return out

    publish_it = ("publish", str(small), "--model", "xception")
    for note in ("the first", "retrained"):
        answer(*publish_it, "--label", "stable", "--note", note)
    answer(*publish_it, "--label", "canary")
    assert answer("label", "xception", "stable", "canary") == "xception:stable is version 3 now\n"
    digest = json.loads(answer("show", "xception:1", "--json"))["digest"]
    one_more = json.loads(answer("label", "xception", "beta", digest, "--json"))  # all have the same, so a labelled one
    assert (one_more["version"], one_more["record"], one_more["changed"]) == (3, 5, True)
    assert answer("label", "xception", "stable", "3") == "xception:stable is version 3 already\n"
    again = json.loads(answer("label", "xception", "beta", "3", "--json"))
    assert (again["version"], again["record"], again["changed"]) == (3, 5, False)

    note = "scores look wrong"
    back = json.loads(answer("rollback", "xception", "stable", "--note", note, "--json"))
    assert (back["from"]["version"], back["to"]["version"]) == (3, 2)
    assert answer("rollback", "xception", "stable") == "xception:stable rolled back: version 2 → 1\n"
    assert run("rollback", "xception", "stable", capsys=capsys)[0] == 3

    away = json.loads(answer("unlabel", "xception", "beta", "--json"))
    assert (away["label"], away["from"]["version"], away["to"]) == ("beta", 3, None)
    gone = answer("unlabel", "xception", "canary", "--note", "became stable")
    assert gone == "xception:canary is removed; it was version 3\n"

    header, *lines = answer("history", "xception").splitlines()
    assert header.split() == ["NUMBER", "TIME", "ACTION", "CHANGE", "BY", "NOTE"]
    columns = [re.split(r"\s{2,}", line) for line in lines]
    assert [(number, action, change, more) for number, _, action, change, _, *more in columns] == [
        ("1", "publish", "stable: – → 1", ["the first"]),
        ("2", "publish", "stable: 1 → 2", ["retrained"]),
        ("3", "publish", "canary: – → 3", []),
        ("4", "label", "stable: 2 → 3", []),
        ("5", "label", "beta: – → 3", []),
        ("6", "rollback", "stable: 3 → 2", ["scores look wrong"]),
        ("7", "rollback", "stable: 2 → 1", []),
        ("8", "unlabel", "beta: 3 → –", []),
        ("9", "unlabel", "canary: 3 → –", ["became stable"]),
    ]
    assert {by for *_, by in (row[:5] for row in columns)} == {author()}
    changes = json.loads(answer("history", "xception", "--label", "canary", "--json"))["changes"]
    (move,) = changes[0]["moves"]
    assert (len(changes), move["label"], move["from"], move["to"]["version"]) == (2, "canary", None, 3)


def test_a_label_without_its_version_is_listed(
    file_store: Store, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_STORE_URL", file_store.url)
    for label in ("stable", "canary"):
        assert run("publish", str(small), "--model", "xception", "--label", label, capsys=capsys)[0] == 0
    assert json.loads(run("versions", "xception", "--json", capsys=capsys)[1])["missing"] == []
    file_store.open().delete(["xception/2/manifest.json"])
    code, out, _ = run("versions", "xception", capsys=capsys)
    assert (code, out.splitlines()[-1]) == (0, "canary → 2, which is missing")
    answer = json.loads(run("versions", "xception", "--json", capsys=capsys)[1])
    assert answer["missing"] == [{"label": "canary", "version": 2}]
    assert [one["version"] for one in answer["versions"]] == [1]


def test_what_is_not_known_of_a_version_is_not_shown(
    file_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_version(tmp_path / "version", provenance={"seed": 0, "commit": None})
    assert run("publish", str(folder), "--model", "xception", "--store", file_store.url, capsys=capsys)[0] == 0
    out = run("show", "xception:1", "--store", file_store.url, capsys=capsys)[1]
    assert "  seed          0\n" in out
    assert "commit" not in out


def test_a_prune_deletes_only_when_told(
    store: Store, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_STORE_URL", store.url)
    for _ in range(3):
        assert run("publish", str(small), "--model", "xception", capsys=capsys)[0] == 0
    assert run("label", "xception", "stable", "2", capsys=capsys)[0] == 0
    code, out, _ = run("prune", "xception", "--keep", "1", capsys=capsys)
    header, one, two, three, hint, summary = out.splitlines()
    assert (code, header.split()) == (0, ["VERSION", "SIZE", "WHY"])
    assert [*re.split(r"\s{2,}", one)[:2], one.split()[-1]] == ["1", "delete", "old"]
    assert re.split(r"\s{2,}", two) == ["2", "keep", "–", "stable points to it"]
    assert re.split(r"\s{2,}", three) == ["3", "keep", "–", "among the newest 1"]
    assert hint == "To keep no version for a label any more: unlabel xception LABEL"
    assert summary.startswith("Nothing was deleted; --yes would delete 1 of 3, ")
    dry = json.loads(run("prune", "xception", "--keep", "1", "--json", capsys=capsys)[1])
    assert (dry["dry_run"], [one["version"] for one in dry["would_delete"]]) == (True, [1])
    assert len(run("versions", "xception", capsys=capsys)[1].splitlines()) == 4

    code, out, err = run("prune", "xception", "--keep", "1", "--yes", "--note", "room", capsys=capsys)
    assert (code, out.splitlines()[-1].startswith("Deleted 1 of 3, ")) == (0, True)
    assert err.startswith("Pruning xception: ")
    versions = json.loads(run("versions", "xception", "--json", capsys=capsys)[1])["versions"]
    assert [one["version"] for one in versions] == [2, 3]
    assert "pruned: 1" in run("history", "xception", capsys=capsys)[1]
    code, out, _ = run("prune", "xception", "--keep", "1", "--yes", "--json", capsys=capsys)
    assert (code, json.loads(out)["deleted"]) == (0, [])


def test_the_store_that_make_serve_made_is_the_default(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "a home"
    (here / ".local/store").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert run("publish", str(small), "--model", "xception", "--label", "stable", capsys=capsys)[0] == 0
    assert (here / ".local/store/xception/1/manifest.json").is_file()
    assert run("verify", "xception", capsys=capsys)[0] == 0
    monkeypatch.setenv("MODEL_STORE_URL", f"file://{tmp_path}")
    assert run("show", "xception", capsys=capsys)[0] == 3
    assert run("show", "xception", "--store", f"file://{here}/.local/store", capsys=capsys)[0] == 0


def test_what_others_wrote_cannot_steer_the_terminal(file_store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"format": 1, "created": "2026-01-01T00:00:00Z", "labels": {}, "by": "\x1b[2Jme\n", "note": "\x07"}
    file_store.open().put_create("xception/labels/000001.json", json.dumps(record).encode())
    code, out, _ = run("history", "xception", "--store", file_store.url, capsys=capsys)
    assert (code, out.splitlines()[1].split()[-2:]) == (0, ["?[2Jme?", "?"])


def test_a_local_folder_that_was_changed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "saved_model.pb").write_bytes(b"graph")
    code, _, err = run("verify", str(small), capsys=capsys)
    assert code == 4
    assert "saved_model.pb: expected 5000 bytes, found 5" in err


@pytest.mark.parametrize(
    "command",
    ["publish", "label", "unlabel", "rollback", "prune", "models", "versions", "history", "show", "pull", "verify"],
)
def test_every_command_shows_examples_that_it_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "--store URL" in out
    assert ".local/store" in out
    examples = [line.split(" # ")[0].split() for line in out.splitlines() if line.startswith("  python -m model_store")]
    assert examples
    for words in examples:
        assert words[3] == command
        app.commands[command].make_context(command, shlex.split(" ".join(words[4:])))
