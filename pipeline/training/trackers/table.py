"""The table of trackers, by the names of --track."""

from collections.abc import Mapping

from pipeline.errors import MissingExtra
from pipeline.system.optional_packages import package_directory
from pipeline.training.trackers.hosted import Trackio, WandB
from pipeline.training.trackers.mlflow import MLflow
from pipeline.training.trackers.tensorboard import TensorBoard
from pipeline.training.trackers.tracked_run import Tracker

TRACKERS: Mapping[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
    "trackio": Trackio,
}


def check_tracker(name: str | None) -> None:
    """Raise `MissingExtra` if the package of a tracker is not installed."""
    if name is None:
        return
    kind = TRACKERS[name]
    if kind.extra:
        package_directory(kind.package, kind.package, f"--track {name}", kind.extra)
        return
    try:
        package_directory(kind.package, kind.package, f"--track {name}", "")
    except MissingExtra as error:
        raise MissingExtra(f"--track {name} needs the package {kind.package}: pip install {kind.package}") from error
