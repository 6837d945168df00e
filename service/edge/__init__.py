"""The data plane of the edge: admission, decoding, and the connection to the runner. Knows no HTTP."""
