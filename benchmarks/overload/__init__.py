"""The service asked for more than it can do."""
