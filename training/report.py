"""Report of an evaluation: an HTML page and an image of the confusion matrix."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .evaluate import ClassMetrics, Evaluation

_NAMED_CLASSES = 50
"""With more classes than this the axes of the image have no class names, because they would be unreadable."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
"""


def sentences(evaluation: Evaluation) -> list[str]:
    """Describe the confusion matrix in plain counts; the last sentence lists classes without errors.

    Returns:
        Sentences such as «Of 36 images of “8”, 1 was classified as “9”.»
    """
    result: list[str] = []
    without_errors: list[str] = []
    for index, metrics in enumerate(evaluation.classes):
        row = evaluation.confusion[index]
        errors = sorted(
            ((count, evaluation.classes[other].name) for other, count in enumerate(row) if other != index and count),
            key=lambda error: (-error[0], error[1]),
        )
        if not errors:
            without_errors.append(f"“{metrics.name}” ({metrics.support})")
            continue
        parts = [f"{count} {'was' if count == 1 else 'were'} classified as “{name}”" for count, name in errors]
        result.append(f"Of {metrics.support} images of “{metrics.name}”, {', '.join(parts)}.")
    if without_errors:
        result.append(f"All images of these classes were classified correctly: {', '.join(without_errors)}.")
    return result


def html_page(evaluation: Evaluation, image: bytes) -> str:
    """Return a self-contained HTML page.

    Args:
        evaluation: The evaluation.
        image: The confusion matrix as a PNG file.
    """
    correct = sum(metrics.true_positives for metrics in evaluation.classes)
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(evaluation))
    rows = "\n".join(_row(metrics) for metrics in evaluation.classes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style></head>
<body>
<h1>Evaluation</h1>
<p>Of {evaluation.examples} images of {escape(evaluation.data)} that the model was not trained on,
it classified {correct} correctly: an accuracy of {evaluation.accuracy:.2%}.</p>
<ul>
{items}
</ul>
<table>
<tr><th>Class</th><th>Images</th><th>True positives</th><th>False negatives</th>
<th>False positives</th><th>Precision</th><th>Recall</th><th>F1</th></tr>
{rows}
</table>
<h2>Confusion matrix</h2>
<p><img alt="Confusion matrix" src="data:image/png;base64,{b64encode(image).decode()}"></p>
</body>
</html>
"""


def _row(metrics: ClassMetrics) -> str:
    precision = "–" if metrics.precision is None else f"{metrics.precision:.3f}"
    cells = [
        escape(metrics.name),
        str(metrics.support),
        str(metrics.true_positives),
        str(metrics.false_negatives),
        str(metrics.false_positives),
        precision,
        f"{metrics.recall:.3f}",
        f"{metrics.f1:.3f}",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def confusion_image(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """Draw the confusion matrix.

    Args:
        confusion: Counts; rows are true classes, columns predicted classes.
        classes: The names of the classes.

    Returns:
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.0 + 0.5 * len(classes))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(classes) <= _NAMED_CLASSES:
        # Without parse_math a dollar sign in a name would start a formula.
        axes.set_xticks(range(len(classes)), classes, rotation=90, parse_math=False)
        axes.set_yticks(range(len(classes)), classes, parse_math=False)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
