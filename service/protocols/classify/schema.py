"""The body of a `/classify` response, as the OpenAPI description has it."""

from __future__ import annotations

from service.protocols.body import Body


class ClassScore(Body):
    """A class and its score."""

    name: str
    """Name of the class."""
    index: int
    """Its place in the model's scores."""
    score: float
    """What the model gave it; the scores of all classes add up to 1."""


class Classification(Body):
    """The best classes of an image."""

    model: str
    version: int
    """The version of the model that answered."""
    predictions: list[ClassScore]
    """Best first."""
