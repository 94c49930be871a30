"""The search itself: spaces, trials, strategies, the study, and the directory that holds them."""
