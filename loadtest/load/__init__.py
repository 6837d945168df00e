"""The load test: requests, their schedule, statistics, and objectives."""
