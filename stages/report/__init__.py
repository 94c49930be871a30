"""The report of finished runs and sweeps: one page, and the same as markdown."""
