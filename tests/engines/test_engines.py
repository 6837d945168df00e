"""Every variant of the packaged demo model in the engine that serves it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from engines.cpus import available_cpus
from engines.engine import Engine
from engines.registry import load_engine
from engines.tensorflow import freeze
from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel, verify_folder
from service.batching.calibration import batch_of
from service.lifecycle.golden_check import check_golden, golden_pixels


@pytest.fixture(scope="module")
def model(xception_package: Path) -> VerifiedModel:
    return verify_folder(xception_package, model="xception", version=1)


def named(model: VerifiedModel, name: str) -> Variant:
    return next(variant for variant in model.manifest.variants if variant.name == name)


@pytest.fixture(scope="module", params=["fp32", "bf16", "int8"])
def served(request: pytest.FixtureRequest, model: VerifiedModel) -> Iterator[tuple[Engine, Variant]]:
    variant = named(model, f"openvino/{request.param}")
    engine = load_engine(model, variant, threads=2)
    yield engine, variant
    engine.close()


def test_every_lane_gives_the_golden_answers(served: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, variant = served
    assert engine.streams == min(2, available_cpus())
    pixels = golden_pixels(model)
    for stream in (None, *range(engine.streams)):
        scores = engine.run(pixels, stream)
        assert (scores.dtype, scores.shape) == (np.float32, (10, 10))
        check_golden(scores, model, variant)


def test_batches_side_by_side_do_not_disturb_each_other(served: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, _ = served
    pixels = golden_pixels(model)
    alone = engine.run(pixels)
    seen: dict[int, list[float]] = {}

    def work(stream: int) -> None:
        order = np.roll(np.arange(10), stream)
        scores = [engine.run(pixels[order], stream) for _ in range(5)]
        seen[stream] = [float(np.abs(one - alone[order]).max()) for one in scores]

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(engine.streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(engine.streams))
    assert max(max(differences) for differences in seen.values()) < 1e-4


def test_scores_belong_to_the_caller(served: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, _ = served
    pixels = golden_pixels(model)
    pixels.flags.writeable = False
    first = engine.run(pixels[:1])
    kept = first.copy()
    engine.run(pixels[5:6])
    np.testing.assert_array_equal(first, kept)


def test_an_engine_that_shrank_answers_as_before(served: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, _ = served
    pixels = batch_of(golden_pixels(model), 16)
    before = engine.run(pixels)
    engine.shrink()
    np.testing.assert_allclose(engine.run(pixels), before, atol=1e-6)


def test_one_thread_has_one_lane(model: VerifiedModel) -> None:
    engine = load_engine(model, named(model, "openvino/int8"), threads=1)
    pixels = golden_pixels(model)[:2]
    assert engine.streams == 1
    np.testing.assert_array_equal(engine.run(pixels, 0), engine.run(pixels))
    engine.close()


def test_tensorflow_computes_in_both_precisions_in_one_process(model: VerifiedModel) -> None:
    loaded = tf.saved_model.load(str(model.path(".")))
    pixels = golden_pixels(model)
    engines = {precision: freeze(loaded, precision) for precision in ("bf16", "fp32")}
    for precision, engine in engines.items():
        assert engine.streams == 1
        check_golden(engine.run(pixels, 0), model, named(model, f"tensorflow/{precision}"))
        engine.shrink()
    for engine in engines.values():
        engine.close()
