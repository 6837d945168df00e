"""What stands around BentoML's HTTP server and supervisor: connections, limits, and processes."""
