"""`POST /classify`: one image in, the best classes with their names out."""
