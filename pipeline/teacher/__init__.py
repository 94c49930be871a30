"""The teacher: where it is, its forward pass over shards, and the checks of its outputs."""
