"""The connection between edge and runner: messages, framing, client and server."""
