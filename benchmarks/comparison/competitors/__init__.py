"""The serving layers that `python -m benchmarks compare` puts beside the service, each at its best.

Each `*_app.py` is one of them, and answers TensorFlow Serving's predict. What runs in an environment of its own imports
of this project only `task`, `classifier`, and the decoding of pictures, which is the same for all.
"""
