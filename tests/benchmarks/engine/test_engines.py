"""The table of engines, measured for moments: its figures mean nothing here, its form does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.engine import engines
from model_store.trust.manifest import Variant
from tests.model_store.samples import make_manifest


def test_prints_a_row_for_each_way_of_running(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--only", "openvino/fp32", "--rounds", "1", "--seconds", "0.01", "--threads", "1"]
    assert main(["engines", str(package), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Images per second (71 × 71, 10 classes), middle of 1 rounds")
    head, rule, row = (line for line in lines if line.startswith("|"))
    assert head.count("|") == rule.count("|") == row.count("|") == 10
    assert row.startswith("| openvino/fp32, alone | ")


def test_what_needs_tensorflow_is_run_on_demand() -> None:
    names: list[tuple[Any, Any]] = [("openvino", "fp32"), ("openvino", "int8"), ("tensorflow", "fp32")]
    variants = tuple(Variant(engine=one, precision=other, path=".", files=("a",)) for one, other in names)
    files = ("a", "model.keras", "golden/pixels.npy", "golden/scores.npy")
    manifest = make_manifest(dict.fromkeys(files, b""), variants=variants)
    assert engines.candidates(manifest, False) == ["openvino/fp32", "openvino/int8"]
    assert engines.candidates(manifest, True)[2:] == ["tensorflow/fp32", "keras.predict"]


def test_what_cannot_be_meant_is_refused(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"holds no manifest\.json, so it is no version of a model"):
        main(["engines", str(tmp_path)])
    assert main(["engines", str(package), "--only", "openvino/fp8"]) == 2
    assert "--only openvino/fp8: there are openvino/fp32" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="holds no model 'none'"):
        main(["engines", "--store", f"file://{tmp_path}", "--model", "none", "--version", "1"])


def test_a_process_that_ends_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit, match=r"^openvino/int8 ended with 1; its output above says why$"),
        engines.EngineProcess(tmp_path, "openvino/int8", 1),
    ):
        pass
