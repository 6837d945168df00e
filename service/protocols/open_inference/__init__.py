"""The Open Inference Protocol v2: `routes` leads, `models` describes, the others read requests and write answers."""
