"""The command line of the model store: `python -m model_store`, or `xception-service model`."""
