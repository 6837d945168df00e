"""The serving layers that `python -m benchmarks compare` puts beside the service, each at its best.

Each `*_app.py` is one of them, and serves the predict API of TensorFlow Serving. Those that run in an environment of
their own import of this project only `task`, `classifier`, and the decoding of images, which is the same for all.
"""
