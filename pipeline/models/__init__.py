"""Encoders: checkpoints, anatomy, and the device and precision that they compute with."""
