"""Run a load test from the command line, as `make loadtest` does: `python -m loadtest.run --scenario ramp`.

Checks the options, the objectives and the service, then becomes a headless Locust. Exit status: 0 when all objectives
were met, 1 when one was missed, 2 when the test could not begin.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from .load.objectives import ObjectivesError, read_objectives
from .load.options import add_options, read_options
from .load.report_folder import report_folder
from .load.target import TargetError, require_ready

LOCUSTFILE = Path(__file__).with_name("locustfile.py")

_STOP_TIMEOUT_S = 2
"""How long users may finish what they do when the test is ended early, in seconds."""


def locust_command(arguments: list[str]) -> list[str]:
    """Return the command that runs Locust.

    Args:
        arguments: Of this command.

    Raises:
        ValueError: An option has an invalid value.
        ObjectivesError: The objectives cannot be used.
        TargetError: There is no service.
    """
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="http://127.0.0.1:3000", help="Address of the service")
    parser.add_argument("--workers", type=int, default=0, help="Processes that make the load; 0: this one alone")
    add_options(parser)
    chosen = parser.parse_args(arguments)
    options = read_options(chosen)
    if chosen.workers < 0:
        raise ValueError("workers: give 0 or more")
    read_objectives(Path(options.objectives))
    require_ready(chosen.host)
    folder = report_folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--loglevel", "WARNING"]
    command += ["--host", chosen.host.rstrip("/"), "--stop-timeout", str(_STOP_TIMEOUT_S)]
    command += ["--html", str(folder / "locust.html"), "--csv", str(folder / "locust")]
    command += ["--json-file", str(folder / "locust"), "--only-summary", "--report", str(folder)]
    if chosen.workers:
        command += ["--processes", str(chosen.workers)]
    for name in type(options).model_fields:
        if name != "report":
            command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    return command


def main() -> NoReturn:
    """Become Locust, or print one line with the reason why not."""
    try:
        command = locust_command(sys.argv[1:])
    except (ValueError, ObjectivesError, TargetError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
