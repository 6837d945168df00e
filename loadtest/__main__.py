"""The measurements that have a command: `python -m loadtest --help`."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "compare": "the service beside other serving layers and the bare engine",
    "engines": "each engine and precision alone, on this machine",
    "start": "from the start of a process until it is ready",
    "big_model": "make and publish the full-size model to measure with",
}
"""Modules with `main(arguments)`, imported only when they are asked for; what each does."""


def main(arguments: list[str]) -> int:
    """Run a command and return its exit status."""
    usage = "\n".join(
        [
            "usage: python -m loadtest COMMAND …",
            "",
            *(f"  {name:<11}{meaning}" for name, meaning in COMMANDS.items()),
            "",
            "Each has --help. Load from Locust: make loadtest.",
        ]
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        print(f"python -m loadtest: no command {arguments[0]!r}\n{usage}", file=sys.stderr)
        return 2
    status: int = import_module(f".{arguments[0]}", __package__).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
