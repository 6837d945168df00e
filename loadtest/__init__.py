"""Load on a running service: Locust users that behave like its callers."""
