"""Prepared requests, and the check of their responses."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from .images import SIZES, jpegs, predict_body

Outcome = Literal["good", "refused", "failed", "not_sent"]
"""`refused`: 429 or 503, as a service may respond under overload. `failed`: any other bad response, or none.
`not_sent`: the limit of requests in flight was reached."""

Content = Literal["single", "instances", "photos", "mixed"]
"""Content of requests."""

INSTANCES = 8
"""Images in a request of `instances`."""

_REFUSALS = (429, 503)


@dataclass(frozen=True, eq=False)
class LoadRequest:
    """A prepared request."""

    name: str
    """In reports."""
    path: str
    content_type: str
    body: bytes
    images: int
    """Predictions that the response must hold."""
    mark: bytes
    """Occurs in the body of the response once for each image, and `marks_around` times more."""
    marks_around: int
    headers: tuple[str, ...] = ()
    """Further header lines, such as `X-Request-Priority: bulk`."""

    def check(self, status: int, version: bytes | None, body: bytes) -> tuple[Outcome, str]:
        """Return the outcome of a response, and the error.

        The body is not parsed as JSON, which for a thousand scores would cost more than all else: marks are counted.

        Args:
            status: Of HTTP.
            version: The header `X-Model-Version`, if present.
            body: The whole body.
        """
        if status in _REFUSALS:
            return "refused", _quote(status, body)
        if status != 200:
            return "failed", _quote(status, body)
        if version is None or not version.isdigit():
            return "failed", "response without a model version"
        predictions = body.count(self.mark) - self.marks_around
        if predictions != self.images or not body.rstrip().endswith(b"}"):
            return "failed", f"{predictions} predictions for {self.images} images"
        return "good", ""


def _quote(status: int, body: bytes) -> str:
    return f"{status} {body[:160].decode(errors='replace')}".strip()


class Mix:
    """Requests, drawn by weight."""

    def __init__(self, weighted: Iterable[tuple[Sequence[LoadRequest], float]]) -> None:
        """Keep groups of requests, each with its weight; those of a group are drawn equally often."""
        self.weighted = tuple(weighted)

    @classmethod
    def of(cls, content: Content, model: str) -> Self:
        """Return the mix of a scenario; its bodies are encoded now."""
        return cls(_weighted(content, model))

    def draw(self, chance: random.Random) -> Iterator[LoadRequest]:
        """Yield requests forever."""
        groups = [group for group, _ in self.weighted]
        weights = [weight for _, weight in self.weighted]
        if len(groups) == 1:
            while True:
                yield chance.choice(groups[0])
        while True:
            yield chance.choice(chance.choices(groups, weights)[0])

    @property
    def requests(self) -> list[LoadRequest]:
        """Return each request once."""
        return [request for group, _ in self.weighted for request in group]


def _weighted(content: Content, model: str) -> Iterator[tuple[Sequence[LoadRequest], int]]:
    """Yield groups of requests that differ only in their images, and the weight of each group."""
    if content in ("single", "mixed"):
        yield _predict("single", model, 1), 6
    if content in ("instances", "mixed"):
        yield _predict(f"{INSTANCES} instances", model, INSTANCES), 1
    if content == "mixed":
        for size in SIZES[:2]:
            yield _classify(size), 1
    if content in ("photos", "mixed"):
        for size, weight in zip(SIZES[2:], (2, 1), strict=True):
            yield _classify(size), weight


def _predict(name: str, model: str, images: int) -> list[LoadRequest]:
    bodies = [predict_body(SIZES[1], images, first) for first in range(len(jpegs(SIZES[1])))]
    # One list of scores an image, in a list around them.
    path = f"/v1/models/{model}:predict"
    return [LoadRequest(name, path, "application/json", body, images, b"[", marks_around=1) for body in bodies]


def _classify(size: tuple[int, int]) -> list[LoadRequest]:
    name = f"{size[0]} × {size[1]}"
    return [LoadRequest(name, "/classify", "image/jpeg", body, 1, b'"predictions":[{', 0) for body in jpegs(size)]
