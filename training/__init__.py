"""From pictures to a version of the model: train, evaluate, export. The only place that imports Keras.

`python -m training --help` is its command line.
"""

from __future__ import annotations

import sys

# Where its package for that is installed, OpenVINO tells its maker of every import. What stands here as None cannot be
# imported, and OpenVINO goes without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
