"""Faster ways to compute parts of an encoder, each proved equal to the plain one."""
