"""Generate parts of docs/reference/ from the code that they describe.

    python scripts/reference_pages.py            # updates the pages
    python scripts/reference_pages.py --check    # changes nothing; lists outdated pages and exits with 1

A generated part is enclosed in the comments `<!-- generated: NAME -->` and `<!-- end -->`; the text around it is
written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import click
from prometheus_client.metrics import MetricWrapperBase

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from service.core.errors import error_classes  # noqa: E402
from service.settings import settings_table  # noqa: E402
from service.telemetry import metrics  # noqa: E402

PAGES = ROOT / "docs" / "reference"

PROGRAMS = {
    "xception-service": "xception_service.__main__:app",
    "python -m training": "training.__main__:app",
    "python -m model_store": "model_store.cli.app:app",
    "python -m service.auth": "service.auth.__main__:app",
    "python -m benchmarks": "benchmarks.__main__:cli",
}
"""The programs, and the import path of the click command of each."""

NOT_EXPANDED = ("xception-service", "python -m benchmarks")
"""Programs without a section for each command: these delegate to other programs, or import a lot."""

_WIDTH = 100
"""Width of the help texts in columns."""

_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def metrics_table() -> str:
    """Return the metrics of the service as a Markdown table, sorted by name."""
    found = (value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase))
    rows = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for metric in sorted(found, key=metric_name):
        (family,) = metric.describe()
        labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
        rows.append(f"| `{metric_name(metric)}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows)


def metric_name(metric: MetricWrapperBase) -> str:
    """Return the name under which Prometheus stores a metric."""
    (family,) = metric.describe()
    return family.name + ("_total" if family.type == "counter" else "")


def errors_table() -> str:
    """Return the error classes of the service as a Markdown table, sorted by status."""
    rows = ["| Status | Error | `reason` | Meaning |", "|---|---|---|---|"]
    for error in sorted(error_classes(), key=lambda error: (error.status, error.__name__)):
        meaning = (error.__doc__ or "").splitlines()[0]
        rows.append(f"| {int(error.status)} | `{error.__name__}` | `{error.reason}` | {meaning} |")
    return "\n".join(rows)


def command_help() -> str:
    """Return the help texts of all programs, one section each."""
    sections = []
    for program, target in PROGRAMS.items():
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        sections.append(f"## `{program}`")
        for path, text in _help_texts(command, program, expand=program not in NOT_EXPANDED):
            if path != program:
                sections.append(f"### `{path.removeprefix('python -m ')}`")
            sections.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(sections)


def _help_texts(
    command: click.Command, name: str, *, expand: bool, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    columns = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **{**command.context_settings, **columns})
    yield context.command_path, command.get_help(context)
    if expand and isinstance(command, click.Group):
        for child in command.list_commands(context):
            subcommand = command.get_command(context, child)
            assert subcommand is not None
            yield from _help_texts(subcommand, child, expand=True, parent=context)


GENERATORS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "metrics": metrics_table,
    "errors": errors_table,
    "commands": command_help,
}


def render(text: str) -> str:
    """Return a page with its generated parts up to date."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{GENERATORS[block[2]]()}\n\n{block[3]}", text)


def main(arguments: list[str]) -> int:
    """Update or check the pages, and return the exit status."""
    outdated = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (current := render(text)) != text:
            outdated.append(page)
            if "--check" not in arguments:
                page.write_text(current, encoding="utf-8")
    if outdated and "--check" in arguments:
        names = ", ".join(str(page.relative_to(ROOT)) for page in outdated)
        print(f"outdated: {names}; run python scripts/reference_pages.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
