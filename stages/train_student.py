"""Train a student from a cache. The teacher's upper layers are not loaded, the rows of the task are not read."""

from pipeline.config.training import TrainStudentConfig
from pipeline.training.student import StudentResult, advance


def run(config: TrainStudentConfig) -> StudentResult:
    """Train, keep the selected weights, and write the run. A finished run of the same recipe is returned.

    Raises a `DistillError` for caches, options and directories that cannot be used.
    """
    result = advance(config)
    assert isinstance(result, StudentResult)
    return result
