"""How good a trained model is on the pictures it has not seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from . import model as classifier
from .errors import RunError
from .report import confusion_picture, page
from .run import Run
from .train import predict


class ClassFigures(BaseModel):
    """How one class fares."""

    name: str
    support: int
    """Held-out pictures of this class."""
    true_positives: int
    false_positives: int
    """Pictures of other classes that were taken for this one."""
    false_negatives: int
    """Pictures of this class that were taken for others."""
    precision: float | None
    """Of what was taken for this class, the share that is; none where nothing was."""
    recall: float
    """Of the pictures of this class, the share that was found."""
    f1: float


class Evaluation(BaseModel):
    """The content of `evaluation.json`."""

    data: str
    examples: int
    accuracy: float
    classes: list[ClassFigures]
    confusion: list[list[int]]
    """Counts; a row for what a picture is, a column for what it was taken for."""


def measure(data: str, classes: tuple[str, ...], labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> Evaluation:
    """Count what was taken for what.

    Args:
        data: Where the pictures come from.
        classes: Their names.
        labels: What each picture is, `[n]`.
        predicted: What it was taken for, `[n]`.
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    figures = []
    for place, name in enumerate(classes):
        hits = int(confusion[place, place])
        support, taken = int(confusion[place].sum()), int(confusion[:, place].sum())
        figures.append(
            ClassFigures(
                name=name,
                support=support,
                true_positives=hits,
                false_positives=taken - hits,
                false_negatives=support - hits,
                precision=hits / taken if taken else None,
                recall=hits / support if support else 0.0,
                f1=2 * hits / (support + taken) if support + taken else 0.0,
            )
        )
    return Evaluation(
        data=data,
        examples=len(labels),
        accuracy=float((labels == predicted).mean()),
        classes=figures,
        confusion=confusion.tolist(),
    )


def evaluate(run: Run) -> Evaluation:
    """Measure a finished run on its held-out pictures; write `evaluation.json`, `.html` and `confusion.png`.

    Raises:
        RunError: The run is not finished, or its data has changed.
        DataError: Its data is not there any more.
    """
    config = run.config()
    if not run.finished:
        raise RunError(
            f"{run.folder}: {run.progress().epochs} of {config.epochs} epochs are done; finish it with: "
            "python -m training train … --resume"
        )
    held_out = run.split().held_out
    scores = predict(classifier.load(run.model, to_train=False), held_out.pixels(config.image_size, config.image_size))
    evaluation = measure(config.data, config.classes, held_out.labels, scores.argmax(axis=1))
    picture = confusion_picture(evaluation.confusion, config.classes)
    run.write("confusion.png", lambda path: path.write_bytes(picture))
    run.write("evaluation.html", lambda path: path.write_text(page(evaluation, picture), encoding="utf-8"))
    run.write("evaluation.json", lambda path: path.write_text(evaluation.model_dump_json(indent=1), encoding="utf-8"))
    return evaluation
