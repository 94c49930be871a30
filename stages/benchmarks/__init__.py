"""Benchmarks: one file for each, the programs that they compare, and how they measure."""
