"""Define the bodies of TensorFlow Serving's REST API for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from service.protocols.body import Body


class B64Image(Body):
    """An encoded image (JPEG, PNG, GIF, BMP or WebP) in base64."""

    b64: str


class NamedImage(Body):
    """An encoded image with the name of its input, or of its feature."""

    image_bytes: B64Image


Level = Annotated[int, Field(ge=0, le=255)]
Pixels = list[list[list[Level]]]
"""`[height][width][3]`, of the model's input size."""


class NamedPixels(Body):
    """The pixels of an image, with the name of the input."""

    pixels: Pixels


class PredictRow(Body):
    """A predict request in row format."""

    instances: list[B64Image] | list[NamedImage] | list[Pixels] | list[NamedPixels] = Field(min_length=1)
    signature_name: str = "serving_default"
    """`serving_default` takes encoded images, `pixels` their pixels."""


class NamedImages(Body):
    """Encoded images with the name of their input."""

    image_bytes: B64Image | list[B64Image]


class NamedPixelsList(Body):
    """The pixels of images with the name of their input."""

    pixels: list[Pixels]


class PredictColumnar(Body):
    """A predict request in columnar format."""

    inputs: B64Image | list[B64Image] | NamedImages | list[Pixels] | NamedPixelsList
    signature_name: str = "serving_default"
    """`serving_default` takes encoded images, `pixels` their pixels."""


Value = str | bool | int | float | B64Image


class Example(Body):
    """The features of an example, each a value or a list of values; only the image is used."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Value | list[Value]]

    image_bytes: B64Image | list[B64Image] = Field(default_factory=list)
    """An encoded image."""


class ClassifyExamples(Body):
    """A classify request."""

    examples: list[Example] = Field(min_length=1)
    context: Example = Field(default_factory=Example)
    """Features of every example that does not have its own."""
    signature_name: str = "classify_images"
    """Default: the only signature whose method is classify."""


class Predictions(Body):
    """Response to the row format: the scores of all classes, one row per image."""

    predictions: list[list[float]]


class Outputs(Body):
    """Response to the columnar format: the scores of all classes, one row per image."""

    outputs: list[list[float]]


LabelAndScore = Annotated[list[str | float], Field(min_length=2, max_length=2)]


class Results(Body):
    """Response to classify: for each example all classes with their scores, in the order of the model."""

    results: list[list[LabelAndScore]]


class StatusDetail(Body):
    """Error of a version; `OK` without one."""

    error_code: str
    error_message: str


class ModelVersionStatus(Body):
    """The state of one version."""

    version: str
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    status: StatusDetail


class ModelStatus(Body):
    """The state of a model's versions."""

    model_version_status: list[ModelVersionStatus]


class ModelSpec(Body):
    """Name and version of the model."""

    name: str
    signature_name: str
    version: str


class Dimension(Body):
    """The size of a tensor in one direction; -1 is any."""

    size: str
    name: str


class TensorShape(Body):
    """The shape of a tensor."""

    dim: list[Dimension]
    unknown_rank: bool


class TensorInfo(Body):
    """Type and shape of an input or output."""

    dtype: str
    tensor_shape: TensorShape
    name: str


class SignatureDef(Body):
    """The inputs and outputs of a signature."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str
    """`tensorflow/serving/predict`, `…/classify` or `…/regress`."""


class SignatureDefMap(Body):
    """The signatures by name."""

    signature_def: dict[str, SignatureDef]


class Metadata(Body):
    """Metadata of a version."""

    signature_def: SignatureDefMap


class ModelMetadata(Body):
    """The signatures of a version."""

    model_spec: ModelSpec
    metadata: Metadata
