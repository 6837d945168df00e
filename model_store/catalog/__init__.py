"""What a store holds: models, versions, labels and their history, and how they are named."""
