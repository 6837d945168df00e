"""API keys: who may send requests, at what rate and priority."""
