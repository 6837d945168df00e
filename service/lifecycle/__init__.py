"""The life cycle of model versions in the runner: from the labels in the store to loaded, checked and serving."""
