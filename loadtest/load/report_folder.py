"""The folder of the report of a load test."""

from __future__ import annotations

import time
from pathlib import Path

from .options import LoadOptions


def report_folder(options: LoadOptions) -> Path:
    """Return the folder for a report, which may not exist yet."""
    if options.report:
        return Path(options.report)
    return Path(".local/loadtest") / f"{time.strftime('%Y%m%d-%H%M%S')}-{options.scenario}"
