from __future__ import annotations

import io

import pytest

from model_store.progress import Bars, Lines, Silent, human_size, progress_on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_chooses_by_stream() -> None:
    assert isinstance(progress_on(Terminal(), quiet=False), Bars)
    assert isinstance(progress_on(io.StringIO(), quiet=False), Lines)
    assert isinstance(progress_on(Terminal(), quiet=True), Silent)


def test_a_bar_counts_bytes() -> None:
    stream = Terminal()
    with Bars(stream).task("Pulling x:1", 2048) as advance:
        advance(1024)
        advance(1024)
    assert "Pulling x:1" in stream.getvalue()
    assert "2.00k/2.00k" in stream.getvalue()


def test_one_line_in_a_log() -> None:
    stream = io.StringIO()
    with Lines(stream).task("Pulling x:1", 3 * 2**20) as advance:
        advance(10)
    assert stream.getvalue().startswith("Pulling x:1: 3.0 MiB in ")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB"), (2**42, "4.0 TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text
