"""From pictures to a version of the model: train, evaluate, export. The only place that imports Keras.

`python -m training --help` is its command line.
"""
