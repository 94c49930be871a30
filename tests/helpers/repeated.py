"""The metrics of an evaluation that a training has too."""

from collections.abc import Mapping

Metrics = Mapping[str, Mapping[str, float]]


def repeated(measured: Metrics, trained: Metrics) -> dict[str, dict[str, float]]:
    """Return the measured metrics, by split, whose names are among those of the training."""
    return {split: {name: measured[split].get(name) for name in names} for split, names in trained.items()}
