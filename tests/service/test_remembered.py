"""What was learned of an engine comes back at the next start, and only where it fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_store.verify import VerifiedModel, verify_folder
from service.learned import Learned
from service.remembered import Remembered
from service.served import ServedVersion


class Laned:
    lanes = 2

    def run(self, pixels: NDArray[np.uint8], lane: int | None = None) -> NDArray[np.float32]:
        raise NotImplementedError

    def close(self) -> None: ...


@pytest.fixture
def served(package: Path) -> ServedVersion:
    model: VerifiedModel = verify_folder(package)
    learned = Learned(2)
    for size in (1, 2, 4):
        learned.measured(size, 0.002 + 0.002 * size)
        learned.cost.observe(size, 0.002 + 0.002 * size)
        learned.alone.observe(size, 0.001 * size)
    return ServedVersion(model, model.manifest.variants[0], Laned(), learned)


def test_it_comes_back(tmp_path: Path, served: ServedVersion) -> None:
    remembered = Remembered(tmp_path / "learned", 2, 32)
    assert remembered.recall(served) is None
    remembered.keep(served)
    again = Remembered(tmp_path / "learned", 2, 32).recall(served)
    assert again is not None
    assert (again.batch_size, again.lanes) == (4, 2)
    assert again.rates == pytest.approx(served.learned.rates)
    assert again.work_s(4) == pytest.approx(served.learned.work_s(4))
    assert again.own_s(1) == pytest.approx(served.learned.own_s(1))
    again.observe(4, 0.02, alone=False)  # And goes on learning.
    assert again.cost.latency_s(4) == pytest.approx(0.02)


def test_it_is_for_this_machine_engine_and_limits_only(tmp_path: Path, served: ServedVersion) -> None:
    Remembered(tmp_path, 2, 32).keep(served)
    other_variant = replace(served, variant=served.variant.model_copy(update={"precision": "bf16"}))
    assert Remembered(tmp_path, 2, 32).recall(other_variant) is None
    assert Remembered(tmp_path, 4, 32).recall(served) is None
    assert Remembered(tmp_path, 2, 16).recall(served) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"lanes": 2}', '{"rates": {"0": 1}}', "NaN", "\0" * 99, '{"rates": {"1": -5}}']
)
def test_what_cannot_be_read_is_learned_anew(tmp_path: Path, served: ServedVersion, text: str) -> None:
    remembered = Remembered(tmp_path, 2, 32)
    remembered.keep(served)
    (file,) = tmp_path.glob("*.json")
    whole = file.read_text()
    file.write_text(text)
    assert remembered.recall(served) is None
    file.write_text(whole[:-9])
    assert remembered.recall(served) is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, served: ServedVersion) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    Remembered(in_the_way, 2, 32).keep(served)
    assert Remembered(in_the_way, 2, 32).recall(served) is None
