"""Searches for the best student over many trainings: run, status, show, compare, regret."""
