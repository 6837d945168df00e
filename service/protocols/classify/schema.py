"""Define the body of a `/classify` response."""

from __future__ import annotations

from service.protocols.body import Body


class ClassScore(Body):
    """A class and its score."""

    name: str
    """Name of the class."""
    index: int
    """Index of the class in the model's scores."""
    score: float
    """Score of the class; the scores of all classes add up to 1."""


class Classification(Body):
    """The best classes of an image."""

    model: str
    version: int
    """Version of the model."""
    predictions: list[ClassScore]
    """Best first."""
