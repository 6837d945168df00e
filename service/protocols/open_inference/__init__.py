"""The Open Inference Protocol v2: `routes` is the entry, `models` resolves versions, others parse and format bodies."""
