"""What is measured about the service: load by Locust, a comparison with others, and single measurements."""
