"""The measurements that have a command: `python -m benchmarks --help`."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

COMMANDS = {
    "compare": ("comparison.compare", "the service beside other serving layers and the bare engine"),
    "engines": ("engine.engines", "each engine and precision alone, on this machine"),
    "batchers": ("batching.batchers", "BentoML's batcher and that of the service, with nothing else different"),
    "start": ("lifecycle.start", "from the start of a process until it is ready"),
    "swap": ("lifecycle.swap", "versions swapped, rolled back and broken under load"),
    "unload": ("engine.unload", "what a version costs in memory, and gives back"),
    "overload": ("overload.overload", "what is left of the service when it is asked far more than it can answer"),
    "refusal": ("overload.refusal", "what it costs to refuse a request, beside a server that does nothing else"),
    "soak": ("lifecycle.soak", "memory, descriptors and latency of the service over a long time"),
    "container_start": (
        "containers.container_start",
        "the same of a container, beside an image with the model in it",
    ),
    "container_memory": (
        "containers.container_memory",
        "what memory a container takes under load, at several limits",
    ),
    "pull": ("lifecycle.pull", "a pull beside a plain download of the same bytes"),
    "big_model": ("engine.big_model", "make and publish the full-size model to measure with"),
}
"""Where the `main(arguments)` of each is, imported only when it is asked for, and what it does."""


def main(arguments: list[str]) -> int:
    """Run a command and return its exit status."""
    usage = "\n".join(
        [
            "usage: python -m benchmarks COMMAND …",
            "",
            *(f"  {name:<18}{meaning}" for name, (_, meaning) in COMMANDS.items()),
            "",
            "Each has --help. Load from Locust: make loadtest.",
        ]
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        print(f"python -m benchmarks: no command {arguments[0]!r}\n{usage}", file=sys.stderr)
        return 2
    module, _ = COMMANDS[arguments[0]]
    status: int = import_module(f".{module}", __package__).main(arguments[1:])
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # As Ctrl-C: what a command has started ends with it.
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
