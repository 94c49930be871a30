"""Threads of a matrix product sleep while they wait for each other, so that other processes can run.

Importing it has this effect, unless the user has set a variable about it. It comes before torch, whose OpenMP library
reads the variable when it is loaded; processes that this one starts inherit it.
"""

import os

# A thread that spins at a barrier keeps its core from the sister thread that it waits for, wherever others use a core.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
