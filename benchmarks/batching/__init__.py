"""Batchers compared with nothing else different."""
