"""The demo model, in every variant."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel, verify_folder


@pytest.fixture(scope="session")
def model(xception_package: Path) -> VerifiedModel:
    return verify_folder(xception_package, model="xception", version=1)


def variant_of(model: VerifiedModel, name: str) -> Variant:
    return next(variant for variant in model.manifest.variants if variant.name == name)
