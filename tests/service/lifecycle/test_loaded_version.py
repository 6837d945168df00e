"""What is reported of a loaded version, and which versions have the same costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from model_store.trust.manifest import InputContract, Variant
from model_store.trust.verify import verify_folder
from service.batching.tuning import BatchProfile
from service.lifecycle.loaded_version import LoadedVersion
from tests.model_store.samples import write_version

from . import shifting_engine
from .service import image
from .shifting_engine import ShiftingEngine

VARIANT = Variant(engine="shifting", precision="fp32", path="weights", files=("weights",))


def version(folder: Path, **manifest: object) -> LoadedVersion:
    write_version(folder, {"weights": b"1"}, variants=(VARIANT,), **manifest)
    model = verify_folder(folder, model="xception", version=7)
    engine = ShiftingEngine(1)
    shifting_engine.loaded.remove(1)
    return LoadedVersion(model, VARIANT, engine, BatchProfile(2))


def test_it_runs_its_engine_and_describes_itself(tmp_path: Path) -> None:
    loaded = version(tmp_path)
    assert loaded.run(image(1), None).argmax(axis=1).tolist() == [2]
    info = loaded.describe(("stable",))
    assert (info.name, info.version, info.labels, info.variant) == ("xception", 7, ("stable",), "shifting/fp32")
    assert (info.digest, info.classes) == (loaded.model.digest, ("cat", "dog"))


def test_its_batching_is_that_of_its_profile(tmp_path: Path) -> None:
    loaded = version(tmp_path)
    loaded.profile.record_measurement(4, 0.1)
    loaded.profile.observe(4, 0.1, exclusive=False)
    loaded.profile.observe(1, 0.02, exclusive=True)
    batching = loaded.describe_batching()
    assert (batching.version, batching.variant, batching.streams, batching.batch_size) == (7, "shifting/fp32", 2, 4)
    assert batching.images_per_second == {4: pytest.approx(40)}
    assert batching.image_seconds == pytest.approx(0.025)
    assert batching.lone_image_seconds == pytest.approx(0.02)


def test_the_same_network_engine_and_input_have_the_same_costs(tmp_path: Path) -> None:
    loaded = version(tmp_path / "1")
    assert loaded.resembles(version(tmp_path / "2", classes=("owl", "bat")))
    assert not loaded.resembles(version(tmp_path / "3", architecture="other"))
    assert not loaded.resembles(version(tmp_path / "4", input=InputContract(height=96, width=71)))
    assert not loaded.resembles(replace(loaded, variant=VARIANT.model_copy(update={"precision": "int8"})))
