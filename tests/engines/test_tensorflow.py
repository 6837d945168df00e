"""Every precision of the demo model in TensorFlow: what is used of its private modules still does what it should."""

from __future__ import annotations

from model_store.trust.verify import VerifiedModel
from service.lifecycle.golden_check import check_golden, golden_pixels

from .conftest import variant_of


def test_both_precisions_in_one_process(model: VerifiedModel) -> None:
    import tensorflow as tf  # It takes seconds, also of those who run another test.

    from engines.tensorflow import freeze

    loaded = tf.saved_model.load(str(model.path(".")))
    pixels = golden_pixels(model)
    engines = {precision: freeze(loaded, precision) for precision in ("bf16", "fp32")}
    for precision, engine in engines.items():
        assert engine.streams == 1
        check_golden(engine.run(pixels, 0), model, variant_of(model, f"tensorflow/{precision}"))
        engine.shrink()
    for engine in engines.values():
        engine.close()
