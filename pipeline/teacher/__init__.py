"""The teacher: where it is found, its pass over the examples, and repairs of a cache with it."""
