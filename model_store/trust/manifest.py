"""The manifest of a model version: files, input, classes, signatures, variants.

`manifest.json` lies beside the files of a version. A label holds the digest of its bytes, and it holds
the digest of each file, so that one hash covers the whole folder. This module is pure: it opens no file and no socket.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from model_store.errors import ManifestError

FORMAT: Final = 1
"""The format this release writes, and the only one it reads."""

MANIFEST_NAME = "manifest.json"

SIGNATURE_NAME = "model.sig"
"""Lies beside the manifest of a signed version; see `signing.py`."""

_OURS = {MANIFEST_NAME, SIGNATURE_NAME}

MAX_MANIFEST_BYTES = 16 * 2**20
"""A manifest of 1,000 classes takes about 50 kB; larger ones are rejected unread."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes) -> str:
    """Return the digest of `data` as `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(text: str) -> bool:
    """Return whether `text` has the form that `digest_of` returns."""
    return _DIGEST.fullmatch(text) is not None


def _inside_folder(path: str) -> str:
    """Reject a path that is not plainly below the folder of its version, on any operating system."""
    parts = path.split("/")
    if (
        any(part in {"", ".", ".."} for part in parts)
        or any(ord(letter) < 32 or letter in '\\:*?"<>|' for letter in path)
        or PurePosixPath(path).is_absolute()
        or parts[0].casefold() in _OURS
    ):
        raise ValueError(f"{path!r} is not a plain relative path below the version's folder")
    return path


FilePath = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_inside_folder)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ManifestFile(_Part):
    """One file of a version."""

    path: FilePath
    size: Annotated[int, Field(ge=0, lt=2**63)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class InputContract(_Part):
    """How an image becomes the `uint8 [height, width, 3]` pixels that the `pixels` signature takes."""

    height: Annotated[int, Field(ge=1, le=8192)]
    width: Annotated[int, Field(ge=1, le=8192)]
    color: Literal["rgb"] = "rgb"
    resize: Literal["bilinear"] = "bilinear"
    """The whole image is stretched to height × width; nothing is cropped."""
    antialias: bool = True
    mean: float = 127.5
    scale: float = 127.5
    """`(pixel - mean) / scale` happens inside the graph; informative here."""


class Tensor(_Part):
    """Type and shape of an input or output of a signature; -1 is the size of the batch."""

    dtype: Literal["DT_STRING", "DT_UINT8", "DT_FLOAT"]
    shape: tuple[int, ...]


class Signature(_Part):
    """The named inputs and outputs of a SavedModel signature."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    method: Literal["predict", "classify", "regress"] = "predict"
    """The TensorFlow Serving API it belongs to; in the SavedModel `tensorflow/serving/<method>`."""


class Variant(_Part):
    """A form of the model that an engine can run, with its measured accuracy."""

    engine: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    """A name in `engines.registry`; a release that does not have it passes the variant over."""
    precision: Literal["fp32", "bf16", "int8"]
    path: str
    """The path that the engine opens: an `.xml` of OpenVINO, or `.` for the SavedModel in the folder itself."""
    files: Annotated[tuple[FilePath, ...], Field(min_length=1)]
    """The files that the engine needs; the others need not be pulled to serve this variant."""
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    """Top-1 accuracy on the held-out set; None without labelled images."""
    tolerance: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Maximum difference of a score from the golden one."""

    @property
    def name(self) -> str:
        """Return engine and precision, as in `openvino/fp32`."""
        return f"{self.engine}/{self.precision}"


class Golden(_Part):
    """Real inputs and the scores that the float32 Keras model gave them."""

    images: tuple[FilePath, ...]
    """The encoded images, in the order of the rows of `pixels`."""
    pixels: FilePath
    """A NumPy file, `uint8 [n, height, width, 3]`."""
    scores: FilePath
    """A NumPy file, `float32 [n, classes]`."""


class Evaluation(_Part):
    """The accuracy of the float32 Keras model on images that it was not trained on."""

    data: str
    examples: Annotated[int, Field(ge=1)]
    accuracy: Annotated[float, Field(ge=0, le=1)]


class Manifest(_Part):
    """The content of `manifest.json`."""

    format: Literal[1] = FORMAT
    created: AwareDatetime
    architecture: str
    input: InputContract
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Names of the classes, in the order of the scores."""
    signatures: Mapping[str, Signature]
    files: Annotated[tuple[ManifestFile, ...], Field(min_length=1)]
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    golden: Golden
    evaluation: Evaluation | None = None
    provenance: Mapping[str, str | int | float | None] = Field(default_factory=dict)
    """Origin of the model: data, seed, epochs, versions of the libraries."""

    @model_validator(mode="after")
    def _names_only_listed_files(self) -> Self:
        listed = [file.path for file in self.files]
        if len({path.casefold() for path in listed}) != len(listed):
            raise ValueError("files: a path is listed twice")
        named = {self.golden.pixels, self.golden.scores, *self.golden.images}
        for variant in self.variants:
            named.update(variant.files)
            if variant.path != "." and variant.path not in variant.files:
                raise ValueError(f"variants: {variant.path!r} is not among the files of {variant.name}")
        if missing := sorted(named - set(listed)):
            raise ValueError(f"files: {missing[0]!r} is named but not listed")
        if len({variant.name for variant in self.variants}) != len(self.variants):
            raise ValueError("variants: an engine and precision is listed twice")
        return self

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of a `manifest.json`.

        Raises:
            ManifestError: Not JSON, not valid, or of a format other than `FORMAT`.
        """
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{MANIFEST_NAME} is not JSON: {error}") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            found = document.get("format") if isinstance(document, dict) else None
            raise ManifestError(f"{MANIFEST_NAME} has format {found!r}; this release reads format {FORMAT} only")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise ManifestError(f"{MANIFEST_NAME} is not valid: {where}: {first['msg']}") from error

    def to_bytes(self) -> bytes:
        """Return the bytes to write as `manifest.json`; parsing them gives an equal manifest."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def file(self, path: str) -> ManifestFile:
        """Return the entry of the file at `path`.

        Raises:
            KeyError: No such file is listed.
        """
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(path)

    def serving_files(self, variant: Variant) -> tuple[str, ...]:
        """Return the paths that a process needs to load, warm up and check `variant`."""
        return tuple(dict.fromkeys([*variant.files, self.golden.pixels, self.golden.scores]))
