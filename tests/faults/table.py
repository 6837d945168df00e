"""The table that the tests of faults leave behind: what broke, and what became of the requests meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .traffic import Tally

PROPERTY = "fault"
"""What the cells of a row are recorded as, with the test that saw the fault: so they come from any process."""

_HEADS = ("Fault", "Load", "Sent", "Answered", "Refused", "Failed", "Wrong", "Lost", "Back after")


@dataclass(frozen=True)
class Row:
    """One fault."""

    fault: str
    load: str
    tally: Tally
    back_after_s: float | None
    """Until the next answer; None where there was no break."""

    def cells(self) -> list[str]:
        """Return what the table says of it."""
        tally = self.tally
        counts = (tally.sent, tally.answered, tally.refused, tally.failed, tally.wrong, tally.lost)
        back = "–" if self.back_after_s is None else f"{self.back_after_s:.1f} s"
        return [self.fault, self.load, *map(str, counts), back]


RecordFault = Callable[[Row], None]
"""Adds a row to the table."""


def format_table(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as a Markdown table, line by line."""
    cells = [list(_HEADS), *rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
