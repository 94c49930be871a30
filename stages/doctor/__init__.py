"""Checks of the machine and the installation, one module for each subject."""
