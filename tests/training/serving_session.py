"""Run a SavedModel as TensorFlow Serving does: the graph in a session, with the tensors that the signatures name.

`tf.saved_model.load` cannot replace this: it rebuilds objects, finds variables in another way, and ignores the API of a
signature.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tensorflow as tf

from .prediction_log import read_logs

v1 = tf.compat.v1


class ServingSession:
    """A session with a loaded version."""

    def __init__(self, folder: Path) -> None:
        self._session = v1.Session(graph=v1.Graph())
        with self._session.graph.as_default():
            loaded = v1.saved_model.loader.load(self._session, [tf.saved_model.SERVING], str(folder))
        self.signatures = loaded.signature_def

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._session.close()

    def run(self, signature: str, **inputs: Any) -> dict[str, Any]:
        """Run a request of the predict API."""
        definition = self.signatures[signature]
        assert set(inputs) == set(definition.inputs)
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        outputs: dict[str, Any] = self._session.run({k: v.name for k, v in definition.outputs.items()}, feeds)
        return outputs

    def classify(self, signature: str, examples: list[bytes]) -> list[list[tuple[str, float]]]:
        """Run a request of the classify API; return label and score of every class for each example, as over REST."""
        definition = self.signatures[signature]
        assert definition.method_name == tf.saved_model.CLASSIFY_METHOD_NAME
        assert set(definition.inputs) == {tf.saved_model.CLASSIFY_INPUTS}
        outputs = self.run(signature, inputs=examples)
        assert set(outputs) == {tf.saved_model.CLASSIFY_OUTPUT_CLASSES, tf.saved_model.CLASSIFY_OUTPUT_SCORES}
        classes, scores = outputs["classes"], outputs["scores"]
        assert classes.shape == scores.shape
        assert len(classes) == len(examples)
        return [
            [(name.decode(), float(score)) for name, score in zip(*row, strict=True)]
            for row in zip(classes, scores, strict=True)
        ]

    def warm_up(self, folder: Path) -> list[str]:
        """Run the warm-up records of a version, and return their signatures in order."""
        used = []
        for log in read_logs(folder):
            if log.HasField("classify_log"):
                request = log.classify_log.request
                examples = [example.SerializeToString() for example in request.input.example_list.examples]
                assert self.classify(request.model_spec.signature_name, examples)
            else:
                request = log.predict_log.request
                inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
                assert self.run(request.model_spec.signature_name, **inputs)
            used.append(request.model_spec.signature_name)
        return used


def example(**features: bytes) -> bytes:
    """Return a serialized `tf.train.Example`."""
    named = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString())
