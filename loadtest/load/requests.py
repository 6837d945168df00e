"""What is sent to the service, made ready before the start, and whether an answer is one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from .images import SIZES, jpegs, predict_body

Outcome = Literal["good", "refused", "failed", "not_sent"]
"""`refused`: 429 or 503, which a service may say under overload. `failed`: anything else that is no good answer, and no
answer. `not_sent`: as many as may be were under way already."""

Content = Literal["single", "instances", "photos", "mixed"]
"""What requests are made of."""

INSTANCES = 8
"""Images in a request of `instances`."""

_REFUSALS = (429, 503)


@dataclass(frozen=True, eq=False)
class Question:
    """A request that is ready to be sent."""

    name: str
    """What it is called in reports."""
    path: str
    content_type: str
    body: bytes
    images: int
    """How many answers it must bring."""
    mark: bytes
    """What the body of its answer holds once for each image, and `marks_around` times more."""
    marks_around: int
    headers: tuple[str, ...] = ()
    """More lines of its head, as in `X-Request-Priority: bulk`."""

    def check(self, status: int, version: bytes | None, body: bytes) -> tuple[Outcome, str]:
        """Return what an answer is, and what is wrong with it.

        The body is not read as JSON, which for a thousand scores would cost more than all else: its parts are counted.

        Args:
            status: Of HTTP.
            version: The header `X-Model-Version`, if there is one.
            body: The answer's, all of it.
        """
        if status in _REFUSALS:
            return "refused", _quote(status, body)
        if status != 200:
            return "failed", _quote(status, body)
        if version is None or not version.isdigit():
            return "failed", "answer without a model version"
        answers = body.count(self.mark) - self.marks_around
        if answers != self.images or not body.rstrip().endswith(b"}"):
            return "failed", f"{answers} answers for {self.images} images"
        return "good", ""


def _quote(status: int, body: bytes) -> str:
    return f"{status} {body[:160].decode(errors='replace')}".strip()


class Mix:
    """Questions, drawn by weight."""

    def __init__(self, weighted: Iterable[tuple[Sequence[Question], float]]) -> None:
        """Keep groups of questions, each with its weight; those of a group are drawn equally often."""
        self.weighted = tuple(weighted)

    @classmethod
    def of(cls, content: Content, model: str) -> Self:
        """Return that of a scenario; its bodies are encoded now."""
        return cls(_weighted(content, model))

    def draw(self, chance: random.Random) -> Iterator[Question]:
        """Yield questions for ever."""
        groups = [group for group, _ in self.weighted]
        weights = [weight for _, weight in self.weighted]
        if len(groups) == 1:
            while True:
                yield chance.choice(groups[0])
        while True:
            yield chance.choice(chance.choices(groups, weights)[0])

    @property
    def questions(self) -> list[Question]:
        """Return each of them once."""
        return [question for group, _ in self.weighted for question in group]


def _weighted(content: Content, model: str) -> Iterator[tuple[Sequence[Question], int]]:
    """Yield groups of questions that differ in nothing but their pictures, and how often they are asked."""
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


def _predict(name: str, model: str, images: int) -> list[Question]:
    bodies = [predict_body(SIZES[1], images, first) for first in range(len(jpegs(SIZES[1])))]
    # One list of scores an image, in a list around them.
    path = f"/v1/models/{model}:predict"
    return [Question(name, path, "application/json", body, images, b"[", marks_around=1) for body in bodies]


def _classify(size: tuple[int, int]) -> list[Question]:
    name = f"{size[0]} × {size[1]}"
    return [Question(name, "/classify", "image/jpeg", body, 1, b'"predictions":[{', 0) for body in jpegs(size)]
