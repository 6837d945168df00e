"""The object store: schemes of URLs, requests, and the translation of the library's errors."""
