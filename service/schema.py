"""The bodies of the API, as they stand in its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, defer_build=True)


class ClassScore(_Body):
    """A class and its score."""

    name: str
    """Name of the class."""
    index: int
    """Its place in the model's scores."""
    score: float
    """What the model gave it; the scores of all classes add up to 1."""


class Classification(_Body):
    """The best classes of an image."""

    model: str
    version: int
    """The version of the model that answered."""
    predictions: list[ClassScore]
    """Best first."""


class B64Image(_Body):
    """An encoded image (JPEG, PNG, GIF, BMP or WebP) in base64."""

    b64: str


class NamedImage(_Body):
    """An encoded image with the name of its input, or of its feature."""

    image_bytes: B64Image


Level = Annotated[int, Field(ge=0, le=255)]
Pixels = list[list[list[Level]]]
"""`[height][width][3]`, of the size that the model takes."""


class NamedPixels(_Body):
    """The pixels of an image with the name of their input."""

    pixels: Pixels


class PredictRow(_Body):
    """A predict request in row format."""

    instances: list[B64Image] | list[NamedImage] | list[Pixels] | list[NamedPixels] = Field(min_length=1)
    signature_name: str = "serving_default"
    """`serving_default` takes encoded images, `pixels` their pixels."""


class NamedImages(_Body):
    """Encoded images with the name of their input."""

    image_bytes: B64Image | list[B64Image]


class NamedPixelsList(_Body):
    """The pixels of images with the name of their input."""

    pixels: list[Pixels]


class PredictColumnar(_Body):
    """A predict request in columnar format."""

    inputs: B64Image | list[B64Image] | NamedImages | list[Pixels] | NamedPixelsList
    signature_name: str = "serving_default"
    """`serving_default` takes encoded images, `pixels` their pixels."""


class ClassifyExamples(_Body):
    """A classify request: examples of features, of which only the image counts."""

    examples: list[NamedImage | dict[str, Any]] = Field(min_length=1)
    context: NamedImage | dict[str, Any] = Field(default_factory=dict)
    """Features of every example that does not have its own."""
    signature_name: str = "classify_images"
    """Without it the only signature that answers classify is taken."""


class Predictions(_Body):
    """The answer to the row format: the scores of all classes, an image a row."""

    predictions: list[list[float]]


class Outputs(_Body):
    """The answer to the columnar format: the scores of all classes, an image a row."""

    outputs: list[list[float]]


class Results(_Body):
    """The answer to classify: for each example all classes with their scores, in the order of the model."""

    results: list[list[tuple[str, float]]]


class StatusDetail(_Body):
    """How a version fares."""

    error_code: str
    error_message: str


class ModelVersionStatus(_Body):
    """The state of one version."""

    version: str
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    status: StatusDetail


class ModelStatus(_Body):
    """The state of a model's versions."""

    model_version_status: list[ModelVersionStatus]


class ModelSpec(_Body):
    """Which version it is."""

    name: str
    signature_name: str
    version: str


class Dimension(_Body):
    """The size of a tensor in one direction; -1 is any."""

    size: str
    name: str


class TensorShape(_Body):
    """The shape of a tensor."""

    dim: list[Dimension]
    unknown_rank: bool


class TensorInfo(_Body):
    """Type and shape of an input or output."""

    dtype: str
    tensor_shape: TensorShape
    name: str


class SignatureDef(_Body):
    """The inputs and outputs of a signature."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str
    """`tensorflow/serving/predict`, `…/classify` or `…/regress`."""


class SignatureDefMap(_Body):
    """The signatures by name."""

    signature_def: dict[str, SignatureDef]


class Metadata(_Body):
    """What there is to tell of a version."""

    signature_def: SignatureDefMap


class ModelMetadata(_Body):
    """The signatures of a version."""

    model_spec: ModelSpec
    metadata: Metadata


class Error(_Body):
    """Why a request was not answered."""

    error: str
