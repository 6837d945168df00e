"""The service beside other serving layers and the bare engine; `compare` is the command."""
