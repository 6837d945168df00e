"""Train, evaluate and package a model. The only package that imports Keras.

The command line is `python -m training --help`.
"""

from __future__ import annotations

import sys

# OpenVINO sends telemetry at every import if its telemetry package is installed. None makes that package unimportable,
# and OpenVINO continues without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
