"""What runs a model, and which of its variants this machine serves."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import Manifest, Variant
from model_store.verify import VerifiedModel

EngineName = Literal["openvino", "tensorflow"]

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
    """A variant of a model, loaded and ready to run."""

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores of a batch.

        Args:
            pixels: `uint8 [n, height, width, 3]`, contiguous.

        Returns:
            `float32 [n, classes]`, which the caller owns.
        """
        ...

    def close(self) -> None:
        """Give memory and threads back."""
        ...


def choose_variant(manifest: Manifest, wanted: Literal["auto"] | EngineName, max_accuracy_loss: float) -> Variant:
    """Return the variant to serve: the fastest that is installed and accurate enough.

    Accuracy is compared with that of the float32 Keras model; a variant, or a model, without a measured
    accuracy passes only in float32, where there is nothing to lose.

    Raises:
        LookupError: None of the variants will do; the message says why for each.
    """
    reasons: list[str] = []
    for variant in sorted(manifest.variants, key=_speed):
        if wanted not in ("auto", variant.engine):
            reasons.append(f"{variant.name}: ENGINE={wanted}")
        elif find_spec(_PACKAGES[variant.engine]) is None:
            reasons.append(f"{variant.name}: the package {_PACKAGES[variant.engine]} is not installed")
        elif reason := _too_inaccurate(manifest, variant, max_accuracy_loss):
            reasons.append(f"{variant.name}: {reason}")
        else:
            return variant
    raise LookupError("no variant of the model can be served here: " + "; ".join(reasons))


def load_engine(model: VerifiedModel, variant: Variant, threads: int) -> Engine:
    """Load a variant from files that were verified.

    Args:
        model: The verified files.
        variant: One of the variants of its manifest.
        threads: CPU threads that the engine may use.
    """
    engine: Engine = import_module(f".engines.{variant.engine}", __package__).load(model, variant, threads)
    return engine


def _speed(variant: Variant) -> int:
    order: Sequence[str] = _BY_SPEED
    return order.index(variant.name) if variant.name in order else len(order)


def _too_inaccurate(manifest: Manifest, variant: Variant, max_loss: float) -> str | None:
    if variant.accuracy is None or manifest.evaluation is None:
        return None if variant.precision == "fp32" else "its accuracy was not measured"
    loss = manifest.evaluation.accuracy - variant.accuracy
    return f"it loses {loss:.4f} of top-1, over {max_loss}" if loss > max_loss else None
