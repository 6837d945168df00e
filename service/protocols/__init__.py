"""What is served over HTTP: one package or module for each API."""
