"""The console script `xception-service`."""
