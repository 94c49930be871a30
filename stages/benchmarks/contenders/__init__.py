"""Work that benchmarks time, each in a process of its own."""
