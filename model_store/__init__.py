"""Versions of a model in an object store: package, publish, pull, verify.

Imports neither Keras nor the service; `python -m model_store --help` is its command line.
"""
