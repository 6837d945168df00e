"""Versions over time: start, pull, swap, and a long run."""
