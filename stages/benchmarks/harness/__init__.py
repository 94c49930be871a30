"""Tools of every benchmark: timing in turns, series and ratios, straight lines, random caches, memory of a process."""
