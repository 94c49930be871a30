"""The parts that stages are built from; they know nothing of stages or the command line."""
