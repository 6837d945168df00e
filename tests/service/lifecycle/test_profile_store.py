"""What was learned of an engine comes back at the next start, and only where it fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_store.trust.verify import VerifiedModel, verify_folder
from service.batching.tuning import BatchProfile
from service.lifecycle.loaded_version import LoadedVersion
from service.lifecycle.profile_store import ProfileStore


class Laned:
    streams = 2

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        raise NotImplementedError

    def close(self) -> None: ...


@pytest.fixture
def version(package: Path) -> LoadedVersion:
    model: VerifiedModel = verify_folder(package)
    profile = BatchProfile(2)
    for size in (1, 2, 4):
        profile.record_measurement(size, 0.002 + 0.002 * size)
        profile.stream_cost.observe(size, 0.002 + 0.002 * size)
        profile.exclusive_cost.observe(size, 0.001 * size)
    return LoadedVersion(model, model.manifest.variants[0], Laned(), profile)


def test_it_comes_back(tmp_path: Path, version: LoadedVersion) -> None:
    last_served = ProfileStore(tmp_path / "learned", 2, 32)
    assert last_served.load(version) is None
    last_served.save(version)
    again = ProfileStore(tmp_path / "learned", 2, 32).load(version)
    assert again is not None
    assert (again.batch_size, again.streams) == (4, 2)
    assert again.rates == pytest.approx(version.profile.rates)
    assert again.work_s(4) == pytest.approx(version.profile.work_s(4))
    assert again.latency_s(1) == pytest.approx(version.profile.latency_s(1))
    again.observe(4, 0.02, exclusive=False)  # And goes on learning.
    assert again.stream_cost.latency_s(4) == pytest.approx(0.02)


def test_it_is_for_this_machine_engine_and_limits_only(tmp_path: Path, version: LoadedVersion) -> None:
    ProfileStore(tmp_path, 2, 32).save(version)
    other_variant = replace(version, variant=version.variant.model_copy(update={"precision": "bf16"}))
    assert ProfileStore(tmp_path, 2, 32).load(other_variant) is None
    assert ProfileStore(tmp_path, 4, 32).load(version) is None
    assert ProfileStore(tmp_path, 2, 16).load(version) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"streams": 2}', '{"rates": {"0": 1}}', "NaN", "\0" * 99, '{"rates": {"1": -5}}']
)
def test_what_cannot_be_read_is_learned_anew(tmp_path: Path, version: LoadedVersion, text: str) -> None:
    last_served = ProfileStore(tmp_path, 2, 32)
    last_served.save(version)
    (file,) = tmp_path.glob("*.json")
    whole = file.read_text()
    file.write_text(text)
    assert last_served.load(version) is None
    file.write_text(whole[:-9])
    assert last_served.load(version) is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, version: LoadedVersion) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    ProfileStore(in_the_way, 2, 32).save(version)
    assert ProfileStore(in_the_way, 2, 32).load(version) is None
