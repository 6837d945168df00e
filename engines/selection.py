"""Choose the variant of a model for this machine."""

from __future__ import annotations

from collections.abc import Collection

from engines.cpus import native_precisions
from engines.registry import ENGINES
from model_store.trust.manifest import Manifest, Variant

_BY_SPEED = [f"{name}/{precision}" for name, engine in ENGINES.items() for precision in engine.precisions]
"""Variants, the fastest first."""


def choose_variant(
    manifest: Manifest,
    engine: str,
    precision: str,
    max_accuracy_loss: float,
    native: Collection[str] | None = None,
) -> Variant:
    """Return the variant to serve: the fastest that is installed, native to this CPU and accurate enough.

    Accuracy is compared with that of the float32 Keras model; a variant, or a model, without a measured
    accuracy is allowed only in float32, where no accuracy is lost. An explicit precision is used as it is:
    neither its accuracy nor the CPU is checked.

    Args:
        manifest: Of the model.
        engine: A name, or `auto`.
        precision: A name, or `auto`.
        max_accuracy_loss: How much top-1 a variant may lose, from 0 to 1.
        native: The precisions that this CPU computes in; looked up by default.

    Raises:
        LookupError: No variant qualifies; the message says why for each.
    """
    native = native_precisions() if native is None else native
    reasons: list[str] = []
    for variant in sorted(manifest.variants, key=_speed):
        if engine not in ("auto", variant.engine):
            reasons.append(f"{variant.name}: ENGINE={engine}")
        elif precision not in ("auto", variant.precision):
            reasons.append(f"{variant.name}: PRECISION={precision}")
        elif variant.engine not in ENGINES:
            reasons.append(f"{variant.name}: this release has no such engine")
        elif not ENGINES[variant.engine].installed:
            reasons.append(f"{variant.name}: the package {ENGINES[variant.engine].package} is not installed")
        elif precision == "auto" and variant.precision not in native:
            reasons.append(f"{variant.name}: this CPU has no instructions for {variant.precision}")
        elif precision == "auto" and (reason := _too_inaccurate(manifest, variant, max_accuracy_loss)):
            reasons.append(f"{variant.name}: {reason}")
        else:
            return variant
    raise LookupError("no variant of the model can be served here: " + "; ".join(reasons))


def _speed(variant: Variant) -> int:
    return _BY_SPEED.index(variant.name) if variant.name in _BY_SPEED else len(_BY_SPEED)


def _too_inaccurate(manifest: Manifest, variant: Variant, max_loss: float) -> str | None:
    if variant.accuracy is None or manifest.evaluation is None:
        return None if variant.precision == "fp32" else "its accuracy was not measured"
    loss = manifest.evaluation.accuracy - variant.accuracy
    return f"it loses {loss:.4f} of top-1, over {max_loss}" if loss > max_loss else None
