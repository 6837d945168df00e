"""The contents of a store: models, versions, labels and their history, and references to them."""
