"""The load test is `python -m loadtest.run`; the benchmarks that were here moved to `python -m benchmarks`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import NoReturn

MOVED = (
    *("compare", "engines", "batchers", "start", "swap", "unload", "overload", "refusal", "soak"),
    *("container_start", "container_memory", "pull", "big_model"),
)
"""The commands that still work for one release."""

USAGE = "The load test is `python -m loadtest.run` or `make loadtest`; benchmarks are `python -m benchmarks`."


def main(arguments: list[str]) -> NoReturn:
    """Become the benchmark of that name, after a deprecation warning on stderr."""
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0)
    if name not in MOVED:
        print(USAGE, file=sys.stderr)
        raise SystemExit(2)
    new = f"python -m benchmarks {name}"
    if find_spec("benchmarks") is None:
        print(f"python -m loadtest {name} is now `{new}`, which runs in a checkout only", file=sys.stderr)
        raise SystemExit(2)
    print(f"python -m loadtest {name} is deprecated; use `{new}`", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
