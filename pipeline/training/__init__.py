"""The training of one model or a pack: steps, the loop, the run and its checkpoint."""
