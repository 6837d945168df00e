"""The service compared with other serving layers."""
