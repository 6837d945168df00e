"""TensorFlow: the SavedModel's `pixels` signature with its variables frozen into constants."""

from __future__ import annotations

import gc
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler.tf_optimizer import OptimizeGraph

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel

SIGNATURE = "pixels"

_BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"
"""The pass of TensorFlow's graph optimiser that makes oneDNN compute in bfloat16 where the accuracy allows."""


class TensorFlowEngine:
    """A frozen function of the graph."""

    streams = 1
    """Parallel batches would share one thread pool; a larger batch gains more."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:  # noqa: ARG002
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        (scores,) = self._function(tf.constant(pixels))
        return np.array(scores, np.float32)

    def shrink(self) -> None:
        """Do nothing: intermediate results are freed during the run."""

    def close(self) -> None:
        """Drop the function and collect it: the objects of TensorFlow have reference cycles."""
        del self._function
        gc.collect()


def load(
    model: VerifiedModel,
    variant: Variant,
    threads: int,
    streams: int = 0,  # noqa: ARG001
    *,
    parallel_compile: bool = True,  # noqa: ARG001
) -> TensorFlowEngine:
    """Load and freeze the SavedModel; the first load sets the number of threads of the process."""
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return freeze(tf.saved_model.load(str(model.path(variant.path))), variant.precision)


def freeze(loaded: Any, precision: str) -> TensorFlowEngine:
    """Return an engine of a loaded SavedModel that computes in `fp32` or `bf16`."""
    function = convert_variables_to_constants_v2(loaded.signatures[SIGNATURE])
    return TensorFlowEngine(_in_bfloat16(function) if precision == "bf16" else function)


def _in_bfloat16(function: Any) -> Any:
    """Return a frozen function rewritten to bfloat16.

    The option of `tf.config.optimizer` would affect the whole process, also versions in float32.
    """
    metagraph = tf.compat.v1.train.export_meta_graph(graph_def=function.graph.as_graph_def(), graph=function.graph)
    inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs))
    metagraph.collection_def["train_op"].node_list.value.extend(outputs)  # The optimiser keeps them.
    config = ConfigProto()
    config.graph_options.rewrite_options.optimizers.append(_BFLOAT16)
    config.graph_options.rewrite_options.meta_optimizer_iterations = RewriterConfig.ONE
    rewritten = OptimizeGraph(config, metagraph)
    return tf.compat.v1.wrap_function(lambda: tf.import_graph_def(rewritten, name=""), []).prune(inputs, outputs)
