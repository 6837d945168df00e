from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from engines.registry import ENGINES
from engines.selection import choose_variant
from model_store.trust.manifest import Evaluation, Golden, InputContract, Manifest, ManifestFile, Variant


def manifest(*variants: Variant, accuracy: float | None = 0.9) -> Manifest:
    paths = {path for variant in variants for path in variant.files} | {"p.npy", "s.npy"}
    return Manifest(
        created=datetime.now(UTC),
        architecture="xception",
        input=InputContract(height=71, width=71),
        classes=("a", "b"),
        signatures={},
        files=tuple(ManifestFile(path=path, size=0, sha256="0" * 64) for path in sorted(paths)),
        variants=variants,
        golden=Golden(images=(), pixels="p.npy", scores="s.npy"),
        evaluation=None if accuracy is None else Evaluation(data="x", examples=10, accuracy=accuracy),
    )


def variant(engine: Any, precision: Any, accuracy: float | None) -> Variant:
    path = f"{engine}-{precision}"
    return Variant(engine=engine, precision=precision, path=path, files=(path,), accuracy=accuracy)


INT8, BF16, FP32, TF = (
    variant("openvino", "int8", 0.895),
    variant("openvino", "bf16", 0.9),
    variant("openvino", "fp32", 0.9),
    variant("tensorflow", "fp32", 0.9),
)
UNMEASURED = variant("openvino", "int8", None)
ALL = {"fp32", "bf16", "int8"}


def test_auto_takes_the_fastest_that_is_accurate_enough() -> None:
    assert choose_variant(manifest(TF, FP32, BF16, INT8), "auto", "auto", 0.01, ALL) == INT8
    assert choose_variant(manifest(TF, FP32, BF16, INT8), "auto", "auto", 0.001, ALL) == BF16
    assert choose_variant(manifest(TF, FP32, INT8), "tensorflow", "auto", 0.01, ALL) == TF


def test_auto_takes_no_precision_that_the_cpu_has_no_instructions_for() -> None:
    assert choose_variant(manifest(TF, FP32, BF16, INT8), "auto", "auto", 0.01, {"fp32", "bf16"}) == BF16
    assert choose_variant(manifest(TF, FP32, BF16, INT8), "auto", "auto", 0.01, {"fp32"}) == FP32
    with pytest.raises(LookupError, match="openvino/int8: this CPU has no instructions for int8"):
        choose_variant(manifest(INT8), "auto", "auto", 0.01, {"fp32"})


def test_without_a_measured_accuracy_only_float32_passes() -> None:
    assert choose_variant(manifest(UNMEASURED, FP32), "auto", "auto", 1.0, ALL) == FP32
    assert choose_variant(manifest(INT8, FP32, accuracy=None), "auto", "auto", 1.0, ALL) == FP32


def test_a_precision_that_is_named_is_taken_as_it_is() -> None:
    assert choose_variant(manifest(TF, FP32, BF16, INT8), "auto", "fp32", 0.01, ALL) == FP32
    assert choose_variant(manifest(TF, FP32, BF16, INT8), "auto", "int8", 0.0, {"fp32"}) == INT8
    assert choose_variant(manifest(UNMEASURED, FP32), "openvino", "int8", 0.01, ALL) == UNMEASURED
    with pytest.raises(LookupError, match="openvino/fp32: PRECISION=int8"):
        choose_variant(manifest(FP32), "auto", "int8", 0.01, ALL)


def test_an_engine_that_is_not_installed_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "openvino", replace(ENGINES["openvino"], package="no_such_package"))
    assert choose_variant(manifest(FP32, TF), "auto", "auto", 0.01) == TF
    with pytest.raises(LookupError, match="openvino/fp32: the package no_such_package is not installed"):
        choose_variant(manifest(FP32), "auto", "auto", 0.01)


def test_says_why_none_will_do() -> None:
    with pytest.raises(LookupError, match=r"it loses 0.0050 of top-1, over 0.001; .*ENGINE=openvino"):
        choose_variant(manifest(INT8, TF), "openvino", "auto", 0.001, ALL)
