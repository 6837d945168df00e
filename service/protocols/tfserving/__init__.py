"""TensorFlow Serving's REST API: `routes` is the entry, `models` resolves versions, others parse and format bodies."""
