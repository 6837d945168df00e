"""From encoded images to the pixels of a model's input contract."""
