"""The runner process: batcher, engine and model versions."""
