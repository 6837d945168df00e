"""One question about the service or its parts each, answered on this machine, and what they share."""
