"""Load generators: a closed loop and an open loop, each in a process of its own."""
