"""The check of an engine's scores against those of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_store.trust.manifest import InputContract, Variant
from model_store.trust.verify import VerifiedModel, verify_folder
from service.lifecycle.golden_check import GoldenMismatchError, check_golden, golden_pixels
from tests.model_store.samples import write_version

from .service import image, npy

VARIANT = Variant(engine="shifting", precision="fp32", path="weights", files=("weights",), tolerance=0.01)

SCORES = np.array([[0.9, 0.1], [0.505, 0.495]], np.float32)


def packaged(
    folder: Path, pixels: NDArray[np.generic] | None = None, scores: NDArray[np.generic] = SCORES
) -> VerifiedModel:
    golden = np.concatenate([image(1), image(2)]) if pixels is None else pixels
    files = {"weights": b"", "golden/pixels.npy": npy(golden), "golden/scores.npy": npy(scores)}
    write_version(folder, files, input=InputContract(height=4, width=4), variants=(VARIANT,))
    return verify_folder(folder, model="xception", version=1)


def test_scores_within_the_tolerance_pass(tmp_path: Path) -> None:
    model = packaged(tmp_path)
    assert golden_pixels(model)[:, 0, 0, 0].tolist() == [1, 2]
    check_golden(SCORES, model, VARIANT)
    check_golden(SCORES + np.float32(0.009), model, VARIANT)
    check_golden(
        SCORES + np.array([0, 0.008], np.float32) * [[0], [1]], model, VARIANT
    )  # Near a tie the top may change.


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (SCORES + np.float32(0.02), r"shifting/fp32 differs by 0.02 .* image 0; its tolerance is 0.01"),
        (np.full_like(SCORES, np.nan), "not finite"),
        (SCORES[1:], r"shape \[1, 2\]"),
        (SCORES[:, :1], r"shape \[2, 1\]"),
    ],
    ids=["differ", "nan", "fewer images", "fewer classes"],
)
def test_other_scores_fail(tmp_path: Path, scores: NDArray[np.float32], reason: str) -> None:
    with pytest.raises(GoldenMismatchError, match=reason):
        check_golden(scores, packaged(tmp_path), VARIANT)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 4, 5, 3), np.uint8), np.zeros((2, 4, 4, 3), np.float32), np.zeros((0, 4, 4, 3), np.uint8)],
    ids=["other size", "float", "none"],
)
def test_golden_pixels_must_be_the_input_of_the_model(tmp_path: Path, pixels: NDArray[np.generic]) -> None:
    with pytest.raises(GoldenMismatchError, match="not the model's input"):
        golden_pixels(packaged(tmp_path, pixels))


def test_golden_scores_must_have_a_column_for_each_class(tmp_path: Path) -> None:
    with pytest.raises(GoldenMismatchError, match=r"the golden scores have shape \[2, 3\]"):
        check_golden(SCORES, packaged(tmp_path, scores=np.zeros((2, 3), np.float32)), VARIANT)
