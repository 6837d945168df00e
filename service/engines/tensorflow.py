"""TensorFlow: the SavedModel's `pixels` signature with its variables frozen into constants."""

from __future__ import annotations

import gc
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from model_store.manifest import Variant
from model_store.verify import VerifiedModel

SIGNATURE = "pixels"


class TensorFlowEngine:
    """A frozen function of the graph."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        (scores,) = self._function(tf.constant(pixels))
        return np.array(scores, np.float32)

    def close(self) -> None:
        """Drop the function, and find it: TensorFlow's objects refer to each other in circles."""
        del self._function
        gc.collect()


def load(model: VerifiedModel, variant: Variant, threads: int) -> TensorFlowEngine:
    """Load and freeze the SavedModel; the number of threads holds for the whole process from the first load on."""
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(model.path(variant.path)))
    return TensorFlowEngine(convert_variables_to_constants_v2(loaded.signatures[SIGNATURE]))
