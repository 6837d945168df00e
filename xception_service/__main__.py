"""One entry to all command lines: `xception-service`, or `python -m xception_service`.

A command imports its part of the project only when it runs, so that help is immediate.
"""

from __future__ import annotations

import runpy
import sys
from importlib.util import find_spec

import click

from service.version import VERSION

PROGRAM = "xception-service"

# The arguments of a command, --help included, are those of the program behind it.
_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}
_arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)

_PROGRAMS = {
    "loadtest": ("loadtest.run", "Load a running service with Locust, and judge it by objectives"),
    "benchmarks": ("benchmarks", "Compare the service with other servers, and measure its parts"),
}
"""Modules of a checkout that run as programs; they are not part of every installation."""


@click.group(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(VERSION, prog_name=PROGRAM)
def app() -> None:
    """Serve, train and manage an image classifier.

    Each command has --help. The service itself is started with: bentoml serve
    """


@app.command(context_settings=_PASSED_ON)
@_arguments
@click.pass_context
def model(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Publish, label, pull, verify and prune models (python -m model_store)."""
    from model_store.cli.app import main as run

    ctx.exit(run(arguments, ctx.command_path))


@app.command(context_settings=_PASSED_ON)
@_arguments
@click.pass_context
def training(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Train, evaluate and package a model (python -m training)."""
    from training.__main__ import main as run

    ctx.exit(run(arguments, ctx.command_path))


@app.command(context_settings=_PASSED_ON)
@_arguments
@click.pass_context
def keys(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Make, list and remove API keys (python -m service.auth)."""
    from service.auth.__main__ import main as run

    ctx.exit(run(arguments, ctx.command_path))


@app.command()
def settings() -> None:
    """Print the settings of the service as a Markdown table."""
    from service.settings import settings_table

    click.echo(settings_table())


def _add_program(name: str, module: str, text: str) -> None:
    """Add a command that runs a module as `python -m` does."""

    @app.command(name, help=f"{text} (python -m {module}).", context_settings=_PASSED_ON)
    @_arguments
    def program(arguments: tuple[str, ...]) -> None:
        sys.argv[1:] = arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)


for _name, (_module, _text) in _PROGRAMS.items():
    if find_spec(_name):
        _add_program(_name, _module, _text)


def main() -> None:
    """Run the console script."""
    app(prog_name=PROGRAM)


if __name__ == "__main__":
    app(prog_name="python -m xception_service")
