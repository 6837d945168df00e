"""Command-line options that several benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from model_store.trust.manifest import MANIFEST_NAME

Function = TypeVar("Function", bound=Callable[..., Any])

POSITIVE = click.IntRange(min=1)
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
SHARE = click.FloatRange(min=0, max=1, max_open=True)


class Commas(click.ParamType[tuple[Any, ...]]):
    """A list of values with commas between them, each converted by another type."""

    def __init__(self, item: click.ParamType[Any]) -> None:
        self.name = "N,…" if isinstance(item, click.IntRange) else "NAME,…"
        self._item = item

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Return the values."""
        if not isinstance(value, str):
            return tuple(value)
        return tuple(self._item.convert(one, param, ctx) for one in value.split(","))


def benchmark(text: str | None) -> Callable[[Callable[..., Any]], click.Command]:
    """Return the decorator of a benchmark's `main`, whose help is `text`; defaults are shown."""
    text = (text or "").replace("\n\n- ", "\n\n\b\n- ")  # Click keeps the lines of a paragraph after a backspace.
    return click.command(help=text, context_settings={"show_default": True, "max_content_width": 120})


def package_option(function: Function) -> Function:
    """Add `--package`, the folder of a packaged version."""
    return click.option(
        *("--package", "package"),
        type=click.Path(path_type=Path),
        default=Path(".local/package"),
        callback=_require_package,
        help="Folder of a packaged version.",
    )(function)


def precision_option(function: Function) -> Function:
    """Add `--precision`."""
    choice = click.Choice(["auto", "fp32", "bf16", "int8"])
    return click.option("--precision", type=choice, default="auto", help="Precision of the engine.")(function)


def model_option(function: Function) -> Function:
    """Add `--model`."""
    return click.option("--model", default="xception", help="A published model.")(function)


def rounds_option(default: int) -> Callable[[Function], Function]:
    """Return what adds `--rounds`."""
    return click.option("--rounds", type=POSITIVE, default=default, help="How often each is measured.")


def _require_package(_: click.Context, __: click.Parameter, folder: Path) -> Path:
    if not (folder / MANIFEST_NAME).is_file():
        raise click.BadParameter(f"{folder} has no {MANIFEST_NAME}; `make model` makes one")
    return folder
