"""Evaluation of a trained model on its held-out images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from . import model as classifier
from .errors import RunError
from .report import confusion_image, html_page
from .run import Run
from .train import predict


class ClassMetrics(BaseModel):
    """Metrics of one class."""

    name: str
    support: int
    """Held-out images of this class."""
    true_positives: int
    false_positives: int
    """Images of other classes that were classified as this one."""
    false_negatives: int
    """Images of this class that were classified as others."""
    precision: float | None
    """True positives / images classified as this class; None if there are none."""
    recall: float
    """True positives / images of this class."""
    f1: float


class Evaluation(BaseModel):
    """The content of `evaluation.json`."""

    data: str
    examples: int
    accuracy: float
    classes: list[ClassMetrics]
    confusion: list[list[int]]
    """Confusion matrix in counts; rows are true classes, columns predicted classes."""


def compute_metrics(
    data: str, classes: tuple[str, ...], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> Evaluation:
    """Compute accuracy, confusion matrix, and the metrics of each class.

    Args:
        data: The source of the images.
        classes: The names of the classes.
        labels: True classes, `[n]`.
        predicted: Predicted classes, `[n]`.
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    metrics = []
    for index, name in enumerate(classes):
        hits = int(confusion[index, index])
        support, predictions = int(confusion[index].sum()), int(confusion[:, index].sum())
        metrics.append(
            ClassMetrics(
                name=name,
                support=support,
                true_positives=hits,
                false_positives=predictions - hits,
                false_negatives=support - hits,
                precision=hits / predictions if predictions else None,
                recall=hits / support if support else 0.0,
                f1=2 * hits / (support + predictions) if support + predictions else 0.0,
            )
        )
    return Evaluation(
        data=data,
        examples=len(labels),
        accuracy=float((labels == predicted).mean()),
        classes=metrics,
        confusion=confusion.tolist(),
    )


def evaluate(run: Run) -> Evaluation:
    """Evaluate a finished run on its held-out images; write `evaluation.json`, `.html` and `confusion.png`.

    Raises:
        RunError: The run is not finished, or its data has changed.
        DataError: Its data no longer exists.
    """
    config = run.config()
    if not run.finished:
        raise RunError(
            f"{run.folder}: {run.progress().epochs} of {config.epochs} epochs are done; continue with: "
            "python -m training train … --resume"
        )
    held_out = run.split().held_out
    scores = predict(
        classifier.load(run.model, with_optimizer=False), held_out.pixels(config.image_size, config.image_size)
    )
    evaluation = compute_metrics(config.data, config.classes, held_out.labels, scores.argmax(axis=1))
    image = confusion_image(evaluation.confusion, config.classes)
    run.write("confusion.png", lambda path: path.write_bytes(image))
    run.write("evaluation.html", lambda path: path.write_text(html_page(evaluation, image), encoding="utf-8"))
    run.write("evaluation.json", lambda path: path.write_text(evaluation.model_dump_json(indent=1), encoding="utf-8"))
    return evaluation
