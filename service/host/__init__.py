"""The process and its machine: threads and memory."""
