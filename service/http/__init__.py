"""HTTP around the data plane: bodies and headers in, responses out."""
