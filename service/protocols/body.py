"""The base of all request and response bodies in the OpenAPI description, and the body of an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A JSON body; its fields are described by the docstrings below them."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, defer_build=True)


class Error(Body):
    """An error."""

    error: str
    """The reason; it names the field or the limit."""
