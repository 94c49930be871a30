"""Stages: one verb per file, each with one public `run(config)` that returns a frozen result."""
