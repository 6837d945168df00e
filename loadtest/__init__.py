"""The load test of the service with Locust."""
