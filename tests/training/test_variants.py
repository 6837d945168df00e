"""Accuracy, tolerance and rejection of variants, by the scores that their engines give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.errors import ExportError
from training.variants import (
    FP32_TOLERANCE,
    MAX_TOLERANCE,
    UNMEASURED_BF16_TOLERANCE,
    Candidate,
    ReferenceScores,
    measure,
)

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Recorded:
    """An engine that reads scores from the pixels and changes them."""

    streams = 1

    def __init__(self, change: Change) -> None:
        self._change = change

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        return self._change(scores_of(pixels))

    def shrink(self) -> None: ...

    def close(self) -> None: ...


def scores_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return two scores for each image, which depend on its first pixel."""
    first = pixels[:, 0, 0, 0].astype(np.float32) / 255
    return np.stack([first, 1 - first], axis=1)


def reference(levels: list[int], labels: list[int] | None = None) -> ReferenceScores:
    pixels = np.repeat(np.array(levels, np.uint8), 12).reshape(-1, 2, 2, 3)
    return ReferenceScores(pixels, scores_of(pixels), None if labels is None else np.array(labels))


GOLDEN = reference([0, 255, 40])
HELD_OUT = reference([0, 10, 200, 255] * 20, [1, 1, 0, 1] * 20)


def candidate(precision: Any, change: Change, engine: Any = "openvino") -> Candidate:
    return Candidate(engine, precision, "a", ("a",), lambda: Recorded(change))


def measured(*candidates: Candidate, held_out: ReferenceScores | None = HELD_OUT) -> tuple[Any, list[str]]:
    messages: list[str] = []
    variants = measure(iter(candidates), GOLDEN, held_out, messages.append)
    return {variant.precision: variant for variant in variants}, messages


def test_accuracy_and_tolerance_are_measured() -> None:
    variants, messages = measured(candidate("fp32", lambda s: s), candidate("int8", lambda s: s + np.float32(0.02)))
    assert not messages
    assert (variants["fp32"].accuracy, variants["fp32"].tolerance) == (0.75, FP32_TOLERANCE)
    assert (variants["int8"].accuracy, variants["int8"].tolerance) == (0.75, 0.04)
    swapped, _ = measured(candidate("fp32", lambda s: s), candidate("int8", lambda s: s * 0.8 + 0.1))
    assert swapped["int8"].tolerance == pytest.approx(0.2)


def test_the_tolerance_covers_99_percent_of_the_held_out_images() -> None:
    def shift(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(scores == np.float32(200 / 255), scores + np.float32(0.1), scores)

    variants, _ = measured(candidate("fp32", lambda s: s), candidate("int8", shift))
    assert variants["int8"].tolerance == pytest.approx(0.2)
    one = reference([0] * 199 + [200], [1] * 200)
    variants, _ = measured(candidate("fp32", lambda s: s), candidate("int8", shift), held_out=one)
    assert variants["int8"].tolerance == FP32_TOLERANCE


def test_without_labelled_images_only_the_golden_set_counts() -> None:
    variants, _ = measured(
        candidate("fp32", lambda s: s), candidate("int8", lambda s: s + np.float32(0.03)), held_out=None
    )
    assert (variants["int8"].accuracy, variants["int8"].tolerance) == (None, 0.06)


def test_bfloat16_is_not_measured_if_the_cpu_cannot_compute_in_it() -> None:
    variants, messages = measured(
        candidate("fp32", lambda s: s + np.float32(1e-5)), candidate("bf16", lambda s: s + np.float32(1e-5))
    )
    assert (variants["bf16"].accuracy, variants["bf16"].tolerance) == (None, UNMEASURED_BF16_TOLERANCE)
    assert messages == ["openvino/bf16: this CPU does not compute in bf16, so its accuracy is not measured"]


@pytest.mark.parametrize("change", [0.3, float("nan")])
def test_a_variant_that_differs_too_much_is_left_out(change: float) -> None:
    variants, messages = measured(candidate("fp32", lambda s: s), candidate("int8", lambda s: s + np.float32(change)))
    assert list(variants) == ["fp32"]
    assert messages == [
        f"openvino/int8: left out, because its golden scores differ from Keras' by {change:.2g}; "
        f"{MAX_TOLERANCE / 2:g} is allowed"
    ]


@pytest.mark.parametrize("change", [0.002, -0.002, float("nan")])
def test_float32_that_disagrees_is_an_error(change: float) -> None:
    with pytest.raises(ExportError, match=r"^openvino/fp32 differs from Keras by (0\.002|nan); 0\.001 is allowed$"):
        measured(candidate("fp32", lambda s: s + np.float32(change)))
