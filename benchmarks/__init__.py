"""Benchmarks of the service and its parts: `python -m benchmarks --help`."""

from __future__ import annotations

import sys

# Where its package for that is installed, OpenVINO tells its maker of every import. What stands here as None cannot be
# imported, and OpenVINO goes without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
