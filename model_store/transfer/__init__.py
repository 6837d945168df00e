"""Transfer of versions: publish, pull in ranges, and the local cache."""
