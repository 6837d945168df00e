"""TensorFlow Serving's `PredictionLog`, with the fields that warm-up records use.

The messages are declared here in a separate protobuf pool, so the package with the full declaration may be installed
too. Names and numbers are those of tensorflow_serving/apis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2

from training.warmup_records import WARMUP_PATH

_PACKAGE = "tensorflow.serving"

_MESSAGES = {
    "ModelSpec": {"name": (1, ""), "signature_name": (3, "")},
    "PredictRequest": {"model_spec": (1, ".tensorflow.serving.ModelSpec"), "inputs": (2, "map")},
    "PredictLog": {"request": (1, ".tensorflow.serving.PredictRequest")},
    "ExampleList": {"examples": (1, "repeated .tensorflow.Example")},
    "Input": {"example_list": (1, ".tensorflow.serving.ExampleList")},
    "ClassificationRequest": {
        "model_spec": (1, ".tensorflow.serving.ModelSpec"),
        "input": (2, ".tensorflow.serving.Input"),
    },
    "ClassifyLog": {"request": (1, ".tensorflow.serving.ClassificationRequest")},
    "PredictionLog": {
        "classify_log": (2, ".tensorflow.serving.ClassifyLog"),
        "predict_log": (6, ".tensorflow.serving.PredictLog"),
    },
}
"""Number and type of each field; an empty type is a string, `map` is from a string to a tensor."""

_Field = descriptor_pb2.FieldDescriptorProto


def _add(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind == "map":
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add(entry, "key", 1, "")
        _add(entry, "value", 2, ".tensorflow.TensorProto")
        kind = f"repeated .{_PACKAGE}.{message.name}.{entry.name}"
    if kind.startswith("repeated "):
        field.label = _Field.LABEL_REPEATED
    if kind:
        field.type, field.type_name = _Field.TYPE_MESSAGE, kind.removeprefix("repeated ")
    else:
        field.type = _Field.TYPE_STRING


def _add_file(pool: descriptor_pool.DescriptorPool, file: FileDescriptor) -> None:
    """Add one of TensorFlow's files to the pool, after the files that it imports."""
    for imported in file.dependencies:
        _add_file(pool, imported)
    pool.AddSerializedFile(file.serialized_pb)


def _declare() -> Any:
    pool = descriptor_pool.DescriptorPool()
    imported = [tensor_pb2.DESCRIPTOR, example_pb2.DESCRIPTOR]
    for file in imported:
        _add_file(pool, file)
    declared = descriptor_pb2.FileDescriptorProto(name="prediction_log.proto", package=_PACKAGE, syntax="proto3")
    declared.dependency.extend(file.name for file in imported)
    for name, fields in _MESSAGES.items():
        message = declared.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, field, number, kind)
    pool.AddSerializedFile(declared.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog"))


PredictionLog = _declare()


def read_records(folder: Path) -> list[bytes]:
    """Return the serialized warm-up records of a version."""
    return [record.numpy() for record in tf.data.TFRecordDataset(str(folder / WARMUP_PATH))]


def read_logs(folder: Path) -> list[Any]:
    """Return the warm-up records of a version as `PredictionLog` messages."""
    return [PredictionLog.FromString(record) for record in read_records(folder)]
