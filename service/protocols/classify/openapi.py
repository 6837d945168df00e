"""The OpenAPI description of `POST /classify`."""

from __future__ import annotations

from service.protocols.classify.schema import Classification
from service.protocols.description import (
    BINARY,
    EXAMPLE_PATH,
    INFERENCE_ERRORS,
    Describer,
    Description,
    json_content,
    query,
)

_LINK = f"[{EXAMPLE_PATH[1:]}]({EXAMPLE_PATH[1:]})"


def describe(describer: Describer) -> Description:
    """Return the description."""
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {**BINARY, "description": f"The image, such as {_LINK}."}},
    }
    example = {"png": {"summary": "A small PNG", "externalValue": EXAMPLE_PATH[1:]}}
    classify = describer.operation(
        "classify",
        "Best classes of one image",
        json_content(Classification),
        *INFERENCE_ERRORS,
        description=f"Send a JPEG, PNG, GIF, BMP or WebP, such as {_LINK}, as a form or as the body.",
        parameters=[
            query("top_k", "integer", "Number of classes."),
            query("version", "integer", "Version number; the default version without `version` and `label`."),
            query("label", "string", "Label of a version."),
            *describer.request_headers(),
        ],
        body={
            "multipart/form-data": {"schema": form, "examples": example},
            "image/*": {"schema": BINARY, "examples": example},
        },
    )
    return Description(
        "Classify", "One image in, its best classes out.", {"/classify": {"post": classify}}, responses=[Classification]
    )
