"""Finished models at work: predictions for new texts."""
