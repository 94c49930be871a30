"""The trackers of --track, through those of accelerate: a module each, and the table of them."""
