"""What is made of the scores that a variant gives when it is packaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.errors import ExportError
from training.variants import BLIND_TOLERANCE, FP32_TOLERANCE, LOOSEST_TOLERANCE, Form, Pictures, measure

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Recorded:
    """An engine that finds the scores in the pixels and changes them."""

    streams = 1

    def __init__(self, change: Change) -> None:
        self._change = change

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        return self._change(scores_of(pixels))

    def shrink(self) -> None: ...

    def close(self) -> None: ...


def scores_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return two scores for each picture, which its first pixel decides."""
    first = pixels[:, 0, 0, 0].astype(np.float32) / 255
    return np.stack([first, 1 - first], axis=1)


def pictures(levels: list[int], labels: list[int] | None = None) -> Pictures:
    pixels = np.repeat(np.array(levels, np.uint8), 12).reshape(-1, 2, 2, 3)
    return Pictures(pixels, scores_of(pixels), None if labels is None else np.array(labels))


GOLDEN = pictures([0, 255, 40])
HELD_OUT = pictures([0, 10, 200, 255] * 20, [1, 1, 0, 1] * 20)


def form(precision: Any, change: Change, engine: Any = "openvino") -> Form:
    return Form(engine, precision, "a", ("a",), lambda: Recorded(change))


def measured(*forms: Form, held_out: Pictures | None = HELD_OUT) -> tuple[Any, list[str]]:
    said: list[str] = []

    def made() -> Iterator[Form]:
        yield from forms

    return {variant.precision: variant for variant in measure(made(), GOLDEN, held_out, said.append)}, said


def test_accuracy_and_tolerance_are_those_that_were_measured() -> None:
    variants, said = measured(form("fp32", lambda s: s), form("int8", lambda s: s + np.float32(0.02)))
    assert not said
    assert (variants["fp32"].accuracy, variants["fp32"].tolerance) == (0.75, FP32_TOLERANCE)
    assert (variants["int8"].accuracy, variants["int8"].tolerance) == (0.75, 0.04)
    swapped, _ = measured(form("fp32", lambda s: s), form("int8", lambda s: s * 0.8 + 0.1))
    assert swapped["int8"].tolerance == pytest.approx(0.2)


def test_the_tolerance_covers_held_out_pictures_but_not_the_last_ones() -> None:
    def off(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(scores == np.float32(200 / 255), scores + np.float32(0.1), scores)

    variants, _ = measured(form("fp32", lambda s: s), form("int8", off))
    assert variants["int8"].tolerance == pytest.approx(0.2)
    one = pictures([0] * 199 + [200], [1] * 200)
    variants, _ = measured(form("fp32", lambda s: s), form("int8", off), held_out=one)
    assert variants["int8"].tolerance == FP32_TOLERANCE


def test_without_labelled_pictures_the_golden_set_alone_decides() -> None:
    variants, _ = measured(form("fp32", lambda s: s), form("int8", lambda s: s + np.float32(0.03)), held_out=None)
    assert (variants["int8"].accuracy, variants["int8"].tolerance) == (None, 0.06)


def test_bfloat16_that_the_cpu_does_not_compute_in_is_not_measured() -> None:
    variants, said = measured(
        form("fp32", lambda s: s + np.float32(1e-5)), form("bf16", lambda s: s + np.float32(1e-5))
    )
    assert (variants["bf16"].accuracy, variants["bf16"].tolerance) == (None, BLIND_TOLERANCE)
    assert said == ["openvino/bf16: this CPU does not compute in bf16, so its accuracy is not measured"]


@pytest.mark.parametrize("change", [0.3, float("nan")])
def test_a_faster_form_that_is_another_model_is_left_out(change: float) -> None:
    variants, said = measured(form("fp32", lambda s: s), form("int8", lambda s: s + np.float32(change)))
    assert list(variants) == ["fp32"]
    assert said == [
        f"openvino/int8: left out, as its golden scores differ from Keras' by {change:.2g}; "
        f"{LOOSEST_TOLERANCE / 2:g} is allowed"
    ]


@pytest.mark.parametrize("change", [0.002, -0.002, float("nan")])
def test_float32_that_disagrees_is_refused(change: float) -> None:
    with pytest.raises(ExportError, match=r"^openvino/fp32 differs from Keras by (0\.002|nan); 0\.001 is allowed$"):
        measured(form("fp32", lambda s: s + np.float32(change)))
