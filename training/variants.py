"""The variants of a package: each is run by its engine and compared with the Keras model."""

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
"""Maximum difference between scores of a float32 variant and of Keras."""

UNMEASURED_BF16_TOLERANCE = 0.05
"""Tolerance of bfloat16 if this CPU cannot compute in it; several times the difference measured on one that can."""

MAX_TOLERANCE = 0.5
"""Maximum tolerance of any variant."""

_TOLERANCE_FACTOR = 2.0
"""Tolerance / measured difference; other CPUs sum in another order."""

_QUANTILE = 0.99
"""Quantile of the differences on the held-out images; the rest are images on which the model is undecided."""

_BATCH = 32


@dataclass(frozen=True)
class Candidate:
    """A variant that has been written, but not measured."""

    engine: str
    precision: str
    path: str
    files: tuple[str, ...]
    load: Callable[[], Engine]

    @property
    def name(self) -> str:
        """Return engine and precision, for example `openvino/fp32`."""
        return f"{self.engine}/{self.precision}"


@dataclass(frozen=True)
class ReferenceScores:
    """Images, and their scores by the float32 Keras model."""

    pixels: NDArray[np.uint8]
    """`[n, height, width, 3]`"""
    scores: NDArray[np.float32]
    """`[n, classes]`"""
    labels: NDArray[np.int64] | None = None
    """`[n]`, if known."""

    def accuracy(self, scores: NDArray[np.float32]) -> float | None:
        """Return the top-1 accuracy of scores of these images; None without labels."""
        return None if self.labels is None else float((scores.argmax(axis=1) == self.labels).mean())

    def differences(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maximum difference from the scores of Keras for each image, `[n]`."""
        differences: NDArray[np.float32] = np.abs(scores - self.scores).max(axis=1)
        return differences


def candidates(folder: Path, loaded: Any) -> Iterator[Candidate]:
    """Yield the possible variants of a version, for each engine float32 first.

    Args:
        folder: The folder of the version, with `openvino/fp32.xml` and optionally `openvino/int8.xml`.
        loaded: The SavedModel in it.
    """
    files: dict[str, str] = {"fp32": "openvino/fp32", "bf16": "openvino/fp32", "int8": "openvino/int8"}
    for precision, name in files.items():
        path = folder / f"{name}.xml"
        if path.is_file():
            load = partial(compile_ir, path, precision, available_cpus(), streams=1)
            yield Candidate("openvino", precision, f"{name}.xml", (f"{name}.xml", f"{name}.bin"), load)
    saved = [*folder.glob("*.pb"), *(folder / "variables").iterdir()]
    names = tuple(sorted(path.relative_to(folder).as_posix() for path in saved))
    for precision in ("fp32", "bf16"):
        yield Candidate("tensorflow", precision, ".", names, partial(freeze, loaded, precision))


def measure(
    unmeasured: Iterator[Candidate],
    golden: ReferenceScores,
    held_out: ReferenceScores | None,
    log: Callable[[str], object],
) -> tuple[Variant, ...]:
    """Run each candidate, and return those that agree with Keras as variants, with accuracy and tolerance.

    The tolerance is twice the maximum difference from Keras on the golden set and on 99 % of the held-out images.

    Args:
        unmeasured: The candidates; for each engine float32 first.
        golden: The golden set.
        held_out: Labelled images that the model was not trained on, if there are any.
        log: Called with a message for each variant that is left out or cannot be measured.

    Raises:
        ExportError: A float32 variant does not agree with Keras on the golden set.
    """
    variants: list[Variant] = []
    fp32_scores: dict[str, NDArray[np.float32]] = {}
    for candidate in unmeasured:
        engine = candidate.load()
        try:
            scores = _scores(engine, golden.pixels)
            held_out_scores = _scores(engine, held_out.pixels) if held_out else None
        finally:
            engine.close()
        difference = float(golden.differences(scores).max())
        accuracy = None
        if candidate.precision == "fp32":
            if not difference <= FP32_TOLERANCE:
                raise ExportError(
                    f"{candidate.name} differs from Keras by {difference:.2g}; {FP32_TOLERANCE:g} is allowed"
                )
            fp32_scores[candidate.engine], tolerance = scores, FP32_TOLERANCE
        elif candidate.precision == "bf16" and np.array_equal(scores, fp32_scores[candidate.engine]):
            log(f"{candidate.name}: this CPU does not compute in bf16, so its accuracy is not measured")
            held_out_scores, tolerance = None, UNMEASURED_BF16_TOLERANCE
        elif not difference * _TOLERANCE_FACTOR <= MAX_TOLERANCE:
            log(
                f"{candidate.name}: left out, because its golden scores differ from Keras' by {difference:.2g}; "
                f"{MAX_TOLERANCE / _TOLERANCE_FACTOR:g} is allowed"
            )
            continue
        else:
            if held_out and held_out_scores is not None:
                difference = max(difference, float(np.quantile(held_out.differences(held_out_scores), _QUANTILE)))
            tolerance = min(max(_TOLERANCE_FACTOR * difference, FP32_TOLERANCE), MAX_TOLERANCE)
        if held_out and held_out_scores is not None:
            accuracy = held_out.accuracy(held_out_scores)
        variants.append(
            Variant(
                engine=candidate.engine,
                precision=candidate.precision,
                path=candidate.path,
                files=candidate.files,
                accuracy=accuracy,
                tolerance=float(f"{tolerance:.2g}"),
            )
        )
    return tuple(variants)


def _scores(engine: Engine, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([engine.run(pixels[at : at + _BATCH]) for at in range(0, len(pixels), _BATCH)])
