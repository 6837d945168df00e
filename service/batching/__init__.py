"""The micro-batcher: the queue, the streams of the engine, and the learned batch size."""
