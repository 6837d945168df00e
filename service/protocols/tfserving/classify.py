"""Parse requests of TensorFlow Serving's classify and regress, and format their responses.

An example is an object of features, each a value or a list of values. The features of `context` are defaults for every
example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from model_store.trust.manifest import Signature
from service.core.errors import BadRequestError
from service.protocols.tfserving.body import DEFAULT_SIGNATURE, Element, is_b64, json_type, quote, read_image

IMAGE = "image_bytes"
"""The feature that holds the encoded image; the SavedModel reads the same one."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_INT64_MAX = 2**63 - 1

_MAX_FEATURES = 1000
"""Features of one example. Only the image is used; checking more of the others would block the event loop."""

Kind = Literal["bytes", "float", "int64"]
"""The lists that a feature of a `tf.train.Example` can hold."""

_TYPES: dict[Kind, set[type]] = {"bytes": {str, dict}, "float": {float}, "int64": {int, bool}}
"""Types of their values in JSON; an object must be bytes in base64."""


@dataclass(frozen=True)
class Examples:
    """The images of a classify request."""

    inputs: list[bytes]
    """Encoded images, in the order of the examples."""
    fields: list[str]
    """Path of each of them in the request."""


@dataclass(frozen=True)
class _Feature:
    kind: Kind | None
    """None for an empty list."""
    values: list[Any]
    field: str


def parse_examples(document: dict[str, Any], max_images: int) -> Examples:
    """Parse the examples of a classify or regress request.

    Args:
        document: The body, as `parse_body` returned it.
        max_images: Limit of images in one request.

    Raises:
        BadRequestError: It is not valid; with TensorFlow Serving's message where it has one.
    """
    context = _read_example(document["context"], "context") if "context" in document else {}
    if "examples" not in document:  # TensorFlow Serving says «classify» for regress, too.
        raise BadRequestError(
            f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise BadRequestError(f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise BadRequestError(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    if len(examples) > max_images:
        raise BadRequestError(f"examples: has {len(examples)} images; the limit is {max_images}")
    features = [
        {**context, **_read_example(example, f"examples[{index}]")}.get(IMAGE) for index, example in enumerate(examples)
    ]
    elements = [_image(feature, index) for index, feature in enumerate(features)]
    return Examples([read_image(element) for element in elements], [element.field for element in elements])


def require_signature(
    document: dict[str, Any], signatures: Mapping[str, Signature], method: Literal["classify", "regress"]
) -> None:
    """Reject a request whose signature is not one of `method`.

    TensorFlow Serving's default is `serving_default`, which is a predict signature here; the default is therefore the
    only signature of `method`, if there is exactly one.

    Raises:
        BadRequestError: There is no such signature, with TensorFlow Serving's message.
    """
    fitting = [name for name, signature in signatures.items() if signature.method == method]
    name = document.get("signature_name")
    if not name:
        name = fitting[0] if len(fitting) == 1 else DEFAULT_SIGNATURE
    if name not in signatures:
        raise BadRequestError(f"No signature was found with the name: {name}")
    if name not in fitting:
        kind = {"classify": "classification", "regress": "regression"}[method]
        raise BadRequestError(
            f"Expected {kind} signature method_name to be tensorflow/serving/{method}. "
            f"Was: tensorflow/serving/{signatures[name].method}"
        )


def format_classify(scores: NDArray[np.float32], classes: Sequence[str]) -> bytes:
    """Return the body of a classify response: all classes of each example, in the order of the model.

    Args:
        scores: `float32 [n, classes]`.
        classes: Their names.
    """
    results = [list(zip(classes, row, strict=True)) for row in scores]
    return orjson.dumps({"results": results}, option=orjson.OPT_SERIALIZE_NUMPY)


def _read_example(example: Any, field: str) -> dict[str, _Feature]:
    """Return the features of an example, or of the context."""
    if not isinstance(example, dict):
        raise BadRequestError(f"Example must be JSON object but got JSON {json_type(example)} ({field})")
    if len(example) > _MAX_FEATURES:
        raise BadRequestError(f"{field}: has {len(example)} features; the limit is {_MAX_FEATURES}")
    return {name: _read_feature(name, content, f"{field}.{name}") for name, content in example.items()}


def _read_feature(name: str, content: Any, field: str) -> _Feature:
    values = content if isinstance(content, list) else [content]
    if not values:
        return _Feature(None, values, field)
    kind = _kind(name, values[0], field)
    types = list(map(type, values))  # Many numbers are checked by a few passes that Python runs in C.
    end = min(map(types.index, set(types) - _TYPES[kind]), default=len(values))
    _require_small(name, kind, values[:end], field)
    if end < len(values):
        _kind(name, values[end], field)
        raise BadRequestError(f"Unexpected element type in feature: {name} expecting type: {kind} ({field})")
    return _Feature(kind, values, field)


def _require_small(name: str, kind: Kind, values: list[Any], field: str) -> None:
    """Reject values that do not fit their kind; of many numbers only the largest has to be checked."""
    if kind == "bytes":
        for value in values:
            _kind(name, value, field)
    else:
        _kind(name, max(values, key=abs) if kind == "float" else max(values), field)


def _kind(name: str, value: Any, field: str) -> Kind:
    """Return the kind of list that a value belongs to."""
    if isinstance(value, str) or is_b64(value):
        return "bytes"
    if isinstance(value, bool):
        return "int64"
    if isinstance(value, int):
        if value > _INT64_MAX:
            raise BadRequestError(f"Feature: {name} has uint64 element. Only int64 is supported. ({field})")
        return "int64"
    if isinstance(value, float):
        if abs(value) > _FLOAT32_MAX:
            number = quote(value)
            raise BadRequestError(f"Cannot convert JSON value: {number} to float without loss of precision. ({field})")
        return "float"
    raise BadRequestError(f"Feature: {name} has element with unexpected JSON type: {json_type(value)} ({field})")


def _image(feature: _Feature | None, index: int) -> Element:
    """Return the image of an example; these errors come from TensorFlow, not from TensorFlow Serving."""
    if feature is None or feature.kind is None:
        missing = f"Name: <unknown>, Feature: {IMAGE} (data type: string) is required but could not be found."
        raise BadRequestError(f"{missing} (examples[{index}])")
    blame = f"Name: <unknown>, Key: {IMAGE}, Index: {index}.  "
    element = Element(feature.values[0], feature.field, blame)
    if feature.kind != "bytes":
        mismatch = f"Data types don't match. Data type: {feature.kind} but expected type: string"
        raise element.reject(mismatch, "must be an image as {'b64': '…'}")
    if len(feature.values) > 1:
        raise element.reject("Can't parse serialized Example.", f"has {len(feature.values)} values; one image is taken")
    return Element(element.value, feature.field)
