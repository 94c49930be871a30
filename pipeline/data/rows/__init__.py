"""Rows of a task: the user's own, those of published tasks, and those without labels."""
