"""The table that the tests of faults leave behind: what broke, and what became of the requests meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from .traffic import Tally

_HEADS = ("Fault", "Load", "Sent", "Answered", "Refused", "Failed", "Wrong", "Lost", "Back after")


@dataclass(frozen=True)
class Row:
    """One fault."""

    fault: str
    load: str
    tally: Tally
    back_after_s: float | None
    """Until the next answer; None where there was no break."""


def format_table(rows: list[Row]) -> list[str]:
    """Return the rows as a Markdown table, line by line."""
    cells = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _cells(row: Row) -> tuple[str, ...]:
    tally = row.tally
    counts = (tally.sent, tally.answered, tally.refused, tally.failed, tally.wrong, tally.lost)
    back = "–" if row.back_after_s is None else f"{row.back_after_s:.1f} s"
    return (row.fault, row.load, *map(str, counts), back)
