"""Versions on their way: published, pulled in ranges, and kept in the local cache."""
