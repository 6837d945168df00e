"""The variants of a package: each run by the engine that will serve it, and measured against the Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cpus import available_cpus
from engines.engine import Engine
from engines.openvino import compile_ir
from engines.tensorflow import freeze
from model_store.trust.manifest import Variant

from .errors import ExportError

FP32_TOLERANCE = 1e-3
"""Largest difference of a float32 engine's score from Keras'."""

BLIND_TOLERANCE = 0.05
"""The same of bfloat16 where this machine does not compute in it; several times what was seen on one that does."""

LOOSEST_TOLERANCE = 0.5
"""The same of any variant: what needs more is another model."""

_HEADROOM = 2.0
"""How many times larger than measured a difference may be: other CPUs add up in another order."""

_USUAL = 0.99
"""Share of the held-out pictures whose differences count; what is left are those that the model is in doubt about."""

_BATCH = 32


@dataclass(frozen=True)
class Form:
    """A variant that is written but not measured yet."""

    engine: str
    precision: str
    path: str
    files: tuple[str, ...]
    load: Callable[[], Engine]

    @property
    def name(self) -> str:
        """Return engine and precision, as in `openvino/fp32`."""
        return f"{self.engine}/{self.precision}"


@dataclass(frozen=True)
class Pictures:
    """Pictures, and the scores that the float32 Keras model gives them."""

    pixels: NDArray[np.uint8]
    """`[n, height, width, 3]`"""
    scores: NDArray[np.float32]
    """`[n, classes]`"""
    labels: NDArray[np.int64] | None = None
    """`[n]`, where they are known."""

    def accuracy(self, scores: NDArray[np.float32]) -> float | None:
        """Return the top-1 of scores of these pictures, where their labels are known."""
        return None if self.labels is None else float((scores.argmax(axis=1) == self.labels).mean())

    def differences(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far the scores of each picture are from Keras' at most, `[n]`."""
        differences: NDArray[np.float32] = np.abs(scores - self.scores).max(axis=1)
        return differences


def forms(folder: Path, loaded: Any) -> Iterator[Form]:
    """Yield what can be run of the files in the folder of a version, float32 first.

    Args:
        folder: Of the version; holds `openvino/fp32.xml` and, if there is to be one, `openvino/int8.xml`.
        loaded: The SavedModel in it.
    """
    files: dict[str, str] = {"fp32": "openvino/fp32", "bf16": "openvino/fp32", "int8": "openvino/int8"}
    for precision, name in files.items():
        path = folder / f"{name}.xml"
        if path.is_file():
            load = partial(compile_ir, path, precision, available_cpus(), streams=1)
            yield Form("openvino", precision, f"{name}.xml", (f"{name}.xml", f"{name}.bin"), load)
    saved = [*folder.glob("*.pb"), *(folder / "variables").iterdir()]
    names = tuple(sorted(path.relative_to(folder).as_posix() for path in saved))
    for precision in ("fp32", "bf16"):
        yield Form("tensorflow", precision, ".", names, partial(freeze, loaded, precision))


def measure(
    made: Iterator[Form], golden: Pictures, held_out: Pictures | None, say: Callable[[str], object]
) -> tuple[Variant, ...]:
    """Run each form on the pictures and return those that still are the model, with accuracy and tolerance.

    The tolerance is twice what the scores of the golden set, and of nearly all held-out pictures, differ from Keras'.

    Args:
        made: The forms; of an engine float32 first.
        golden: The golden set.
        held_out: Labelled pictures that the model was not trained on, where there are any.
        say: Told what was left out or could not be measured.

    Raises:
        ExportError: A float32 form does not agree with Keras on the golden set.
    """
    variants: list[Variant] = []
    exact: dict[str, NDArray[np.float32]] = {}
    for form in made:
        engine = form.load()
        try:
            scores = _scores(engine, golden.pixels)
            others = _scores(engine, held_out.pixels) if held_out else None
        finally:
            engine.close()
        furthest = float(golden.differences(scores).max())
        accuracy = None
        if form.precision == "fp32":
            if not furthest <= FP32_TOLERANCE:
                raise ExportError(f"{form.name} differs from Keras by {furthest:.2g}; {FP32_TOLERANCE:g} is allowed")
            exact[form.engine], tolerance = scores, FP32_TOLERANCE
        elif form.precision == "bf16" and np.array_equal(scores, exact[form.engine]):
            say(f"{form.name}: this CPU does not compute in bf16, so its accuracy is not measured")
            others, tolerance = None, BLIND_TOLERANCE
        elif not furthest * _HEADROOM <= LOOSEST_TOLERANCE:
            say(
                f"{form.name}: left out, as its golden scores differ from Keras' by {furthest:.2g}; "
                f"{LOOSEST_TOLERANCE / _HEADROOM:g} is allowed"
            )
            continue
        else:
            if held_out and others is not None:
                furthest = max(furthest, float(np.quantile(held_out.differences(others), _USUAL)))
            tolerance = min(max(_HEADROOM * furthest, FP32_TOLERANCE), LOOSEST_TOLERANCE)
        if held_out and others is not None:
            accuracy = held_out.accuracy(others)
        variants.append(
            Variant(
                engine=form.engine,
                precision=form.precision,
                path=form.path,
                files=form.files,
                accuracy=accuracy,
                tolerance=float(f"{tolerance:.2g}"),
            )
        )
    return tuple(variants)


def _scores(engine: Engine, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([engine.run(pixels[at : at + _BATCH]) for at in range(0, len(pixels), _BATCH)])
