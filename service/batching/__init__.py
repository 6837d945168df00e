"""The micro-batcher: queue, streams of the engine, and what batch size pays."""
