"""An evaluation as a page that a person can read, and as a picture."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .evaluate import ClassFigures, Evaluation

_NAMED_CLASSES = 50
"""More classes than this make the axes of the picture unreadable, so they stay without names."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
"""


def sentences(evaluation: Evaluation) -> list[str]:
    """Say in plain counts what was taken for what; classes without a mistake share the last sentence.

    Returns:
        Sentences such as «Of 36 pictures of “8”, 1 was taken for “9”.»
    """
    said: list[str] = []
    faultless: list[str] = []
    for place, figures in enumerate(evaluation.classes):
        row = evaluation.confusion[place]
        mistakes = sorted(
            ((count, evaluation.classes[other].name) for other, count in enumerate(row) if other != place and count),
            key=lambda mistake: (-mistake[0], mistake[1]),
        )
        if not mistakes:
            faultless.append(f"“{figures.name}” ({figures.support})")
            continue
        parts = [f"{count} {'was' if count == 1 else 'were'} taken for “{name}”" for count, name in mistakes]
        said.append(f"Of {figures.support} pictures of “{figures.name}”, {', '.join(parts)}.")
    if faultless:
        said.append(f"All pictures of these classes were recognised: {', '.join(faultless)}.")
    return said


def page(evaluation: Evaluation, picture: bytes) -> str:
    """Return one HTML page with everything in it.

    Args:
        evaluation: What was measured.
        picture: The confusion matrix as a PNG file.
    """
    right = sum(figures.true_positives for figures in evaluation.classes)
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(evaluation))
    rows = "\n".join(_row(figures) for figures in evaluation.classes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style></head>
<body>
<h1>Evaluation</h1>
<p>Of {evaluation.examples} pictures of {escape(evaluation.data)} that the model was not trained on,
it recognised {right}: an accuracy of {evaluation.accuracy:.2%}.</p>
<ul>
{items}
</ul>
<table>
<tr><th>Class</th><th>Pictures</th><th>Recognised</th><th>Missed (false negatives)</th>
<th>Wrongly taken for it (false positives)</th><th>Precision</th><th>Recall</th><th>F1</th></tr>
{rows}
</table>
<h2>What was taken for what</h2>
<p><img alt="Confusion matrix" src="data:image/png;base64,{b64encode(picture).decode()}"></p>
</body>
</html>
"""


def _row(figures: ClassFigures) -> str:
    precision = "–" if figures.precision is None else f"{figures.precision:.3f}"
    cells = [
        escape(figures.name),
        str(figures.support),
        str(figures.true_positives),
        str(figures.false_negatives),
        str(figures.false_positives),
        precision,
        f"{figures.recall:.3f}",
        f"{figures.f1:.3f}",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def confusion_picture(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """Draw the confusion matrix.

    Args:
        confusion: Counts; a row for what a picture is, a column for what it was taken for.
        classes: Names.

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
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if len(classes) <= _NAMED_CLASSES:
        # Names are names: a dollar in one begins no formula.
        axes.set_xticks(range(len(classes)), classes, rotation=90, parse_math=False)
        axes.set_yticks(range(len(classes)), classes, parse_math=False)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
