"""The registry: what is installed, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.registry import ENGINES, load_engine
from model_store.trust.verify import verify_folder
from service.lifecycle.golden_check import golden_pixels
from tests.server import ROOT


def test_an_engine_is_a_module_with_a_package_and_precisions() -> None:
    for name, engine in ENGINES.items():
        assert find_spec(engine.module) is not None, name
        assert engine.installed
        assert set(engine.precisions) <= {"fp32", "bf16", "int8"}
        assert not replace(engine, package="no_such_package").installed


def test_naming_the_engines_imports_none_of_them() -> None:
    code = "import sys, engines.selection; print(sorted({'openvino', 'tensorflow'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_variant_is_loaded_by_the_engine_that_it_names(package: Path) -> None:
    model = verify_folder(package, model="xception", version=1)
    engine = load_engine(model, model.manifest.variants[0], threads=1)
    assert engine.run(golden_pixels(model)).argmax(axis=1).tolist() == list(range(10))
    assert engine.run(np.zeros((2, 71, 71, 3), np.uint8)).shape == (2, 10)
    engine.close()


def test_an_unknown_engine_cannot_be_loaded(package: Path) -> None:
    model = verify_folder(package, model="xception", version=1)
    with pytest.raises(KeyError, match="onnxruntime"):
        load_engine(model, model.manifest.variants[0].model_copy(update={"engine": "onnxruntime"}), threads=1)
