"""What runs a model, and which of its variants this machine serves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import Manifest, Variant
from model_store.trust.verify import VerifiedModel

from .cpus import native_precisions

EngineName = Literal["openvino", "tensorflow"]
Precision = Literal["fp32", "bf16", "int8"]

_BY_SPEED = (
    "openvino/int8",
    "openvino/bf16",
    "openvino/fp32",
    "tensorflow/bf16",
    "tensorflow/fp32",
)
"""Variants, the fastest first, as they came out on x86-64 CPUs for Xception at 71 × 71 and at 299 × 299."""

_PACKAGES = {"openvino": "openvino", "tensorflow": "tensorflow"}
"""What must be installed for an engine."""


class Engine(Protocol):
    """A variant of a model, loaded and ready to run.

    Alone, on all cores, a batch has its scores soonest; side by side in lanes, many batches get theirs at the highest
    rate. Each lane is used by one thread at a time, and nothing runs alone while a lane is in use.
    """

    lanes: int
    """Batches that may run side by side, each on its own share of the cores; 1 where that brings nothing."""

    def run(self, pixels: NDArray[np.uint8], lane: int | None = None) -> NDArray[np.float32]:
        """Return the scores of a batch.

        Args:
            pixels: `uint8 [n, height, width, 3]`, contiguous.
            lane: None runs the batch alone, on all cores; 0 to `lanes` - 1 in that lane, beside the others.

        Returns:
            `float32 [n, classes]`, which the caller owns.
        """
        ...

    def shrink(self) -> None:
        """Free the intermediate results of the batches so far, while none runs; the next ones make theirs anew.

        They are kept from batch to batch, and as large as the largest one needed.
        """
        ...

    def close(self) -> None:
        """Give memory and threads back."""
        ...


def choose_variant(
    manifest: Manifest,
    engine: Literal["auto"] | EngineName,
    precision: Literal["auto"] | Precision,
    max_accuracy_loss: float,
    native: Collection[str] | None = None,
) -> Variant:
    """Return the variant to serve: the fastest that is installed, at home on this CPU and accurate enough.

    Accuracy is compared with that of the float32 Keras model; a variant, or a model, without a measured
    accuracy passes only in float32, where there is nothing to lose. A precision that is asked for by name is taken
    as it is: neither its accuracy nor the CPU is looked at.

    Args:
        manifest: Of the model.
        engine: The engine that is asked for.
        precision: The precision that is asked for.
        max_accuracy_loss: How much top-1 a variant may lose, from 0 to 1.
        native: The precisions that this CPU computes in; looked up by default.

    Raises:
        LookupError: None of the variants will do; the message says why for each.
    """
    native = native_precisions() if native is None else native
    reasons: list[str] = []
    for variant in sorted(manifest.variants, key=_speed):
        if engine not in ("auto", variant.engine):
            reasons.append(f"{variant.name}: ENGINE={engine}")
        elif precision not in ("auto", variant.precision):
            reasons.append(f"{variant.name}: PRECISION={precision}")
        elif find_spec(_PACKAGES[variant.engine]) is None:
            reasons.append(f"{variant.name}: the package {_PACKAGES[variant.engine]} is not installed")
        elif precision == "auto" and variant.precision not in native:
            reasons.append(f"{variant.name}: this CPU has no instructions for {variant.precision}")
        elif precision == "auto" and (reason := _too_inaccurate(manifest, variant, max_accuracy_loss)):
            reasons.append(f"{variant.name}: {reason}")
        else:
            return variant
    raise LookupError("no variant of the model can be served here: " + "; ".join(reasons))


def load_engine(
    model: VerifiedModel, variant: Variant, threads: int, lanes: int = 0, *, hurried: bool = True
) -> Engine:
    """Load a variant from files that were verified.

    Args:
        model: The verified files.
        variant: One of the variants of its manifest.
        threads: CPU threads that the engine may use.
        lanes: The most lanes that are wanted; 0 leaves it to the engine.
        hurried: Whether to take more than one core for it; not where others need them.
    """
    module = import_module(f".engines.{variant.engine}", __package__)
    engine: Engine = module.load(model, variant, threads, lanes, hurried=hurried)
    return engine


def _speed(variant: Variant) -> int:
    order: Sequence[str] = _BY_SPEED
    return order.index(variant.name) if variant.name in order else len(order)


def _too_inaccurate(manifest: Manifest, variant: Variant, max_loss: float) -> str | None:
    if variant.accuracy is None or manifest.evaluation is None:
        return None if variant.precision == "fp32" else "its accuracy was not measured"
    loss = manifest.evaluation.accuracy - variant.accuracy
    return f"it loses {loss:.4f} of top-1, over {max_loss}" if loss > max_loss else None
