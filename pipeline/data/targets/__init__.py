"""Targets in the rows: what a teacher elsewhere said of them."""
