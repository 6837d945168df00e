"""Benchmarks of the container image: start time and memory."""
