"""Caches: one directory or URL each, with all that a student needs of one teacher on one task."""
