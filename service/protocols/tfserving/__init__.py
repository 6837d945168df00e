"""TensorFlow Serving's REST API: `routes` leads, `models` names versions, the others read and write bodies."""
