"""Losses, layer maps, recipes and targets: the method."""
