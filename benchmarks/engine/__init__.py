"""Engines without a service around them: speed, memory, and a full-size model to run."""
