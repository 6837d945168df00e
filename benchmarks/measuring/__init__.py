"""Instruments shared by the benchmarks: timing, statistics, memory, interference."""
