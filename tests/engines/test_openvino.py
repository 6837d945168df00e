"""Every precision of the demo model in OpenVINO, in streams and on all cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from engines.cpus import available_cpus
from engines.engine import Engine
from engines.registry import load_engine
from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel
from service.batching.calibration import batch_of
from service.lifecycle.golden_check import check_golden, golden_pixels

from .conftest import variant_of


@pytest.fixture(scope="module", params=["fp32", "bf16", "int8"])
def loaded(request: pytest.FixtureRequest, model: VerifiedModel) -> Iterator[tuple[Engine, Variant]]:
    variant = variant_of(model, f"openvino/{request.param}")
    engine = load_engine(model, variant, threads=2)
    yield engine, variant
    engine.close()


def test_every_stream_gives_the_golden_scores(loaded: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, variant = loaded
    assert engine.streams == min(2, available_cpus())
    pixels = golden_pixels(model)
    for stream in (None, *range(engine.streams)):
        scores = engine.run(pixels, stream)
        assert (scores.dtype, scores.shape) == (np.float32, (10, 10))
        check_golden(scores, model, variant)


def test_parallel_batches_do_not_affect_each_other(loaded: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, _ = loaded
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


def test_scores_are_not_overwritten_by_the_next_batch(loaded: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, _ = loaded
    pixels = golden_pixels(model)
    pixels.flags.writeable = False
    first = engine.run(pixels[:1])
    kept = first.copy()
    engine.run(pixels[5:6])
    np.testing.assert_array_equal(first, kept)


def test_an_engine_that_shrank_gives_the_same_scores(loaded: tuple[Engine, Variant], model: VerifiedModel) -> None:
    engine, _ = loaded
    pixels = batch_of(golden_pixels(model), 16)
    before = engine.run(pixels)
    engine.shrink()
    np.testing.assert_allclose(engine.run(pixels), before, atol=1e-6)


def test_one_thread_has_one_stream(model: VerifiedModel) -> None:
    engine = load_engine(model, variant_of(model, "openvino/int8"), threads=1)
    pixels = golden_pixels(model)[:2]
    assert engine.streams == 1
    np.testing.assert_array_equal(engine.run(pixels, 0), engine.run(pixels))
    engine.close()
