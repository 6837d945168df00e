"""Access to the object store: URL schemes, requests, and the translation of the library's errors."""
