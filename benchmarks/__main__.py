"""Run a benchmark: `python -m benchmarks --help`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import click

COMMANDS = {
    "compare": ("comparison.compare", "The service beside other serving layers and the bare engine."),
    "engines": ("engine.engines", "Each engine and precision alone."),
    "batchers": ("batching.batchers", "BentoML's batcher and the service's, with nothing else different."),
    "start": ("lifecycle.start", "From the start of a process until it is ready."),
    "swap": ("lifecycle.swap", "Versions swapped, rolled back and broken under load."),
    "unload": ("engine.unload", "Memory that a version takes, and gives back."),
    "overload": ("overload.overload", "A multiple of the load that the service can serve."),
    "refusal": ("overload.refusal", "Cost of a rejection, beside a server that does nothing else."),
    "soak": ("lifecycle.soak", "Memory, descriptors and latency over a long time."),
    "container_start": ("containers.container_start", "From the start of a container until it is ready."),
    "container_memory": ("containers.container_memory", "Memory of a container under load, at several limits."),
    "pull": ("lifecycle.pull", "A pull beside a plain download of the same bytes."),
    "big_model": ("engine.big_model", "Make and publish the full-size model to measure with."),
}
"""The module of each command, imported only when it runs, and its line in the help."""


class Benchmarks(click.Group):
    """The commands, loaded when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{COMMANDS[cmd_name][0]}", __package__).main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each command without importing it."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=Benchmarks, context_settings={"max_content_width": 120})
def cli() -> None:
    """Benchmarks of the service and its parts. Each has --help. The load test with Locust is `make loadtest`."""


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status."""
    try:
        return int(cli.main(arguments, prog_name="python -m benchmarks", standalone_mode=False) or 0)
    except click.Abort:  # Ctrl-C.
        return 128 + signal.SIGINT
    except click.ClickException as error:
        error.show()
        return error.exit_code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # As Ctrl-C: processes that a command has started end.
    sys.exit(main(sys.argv[1:]))
