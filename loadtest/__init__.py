"""What is measured about the service: load by Locust, a comparison with others, and single measurements."""

from __future__ import annotations

import sys

# Where its package for that is installed, OpenVINO tells its maker of every import. What stands here as None cannot be
# imported, and OpenVINO goes without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
