"""MLflow: a run in the store or at the server of MLFLOW_TRACKING_URI."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.training.trackers.tracked_run import FAILED, FINISHED, STOPPED, Scalars, TrackedRun


class MLflow:
    """A run of the experiment that is named as the task, where MLFLOW_TRACKING_URI points; without: ./mlflow.db."""

    package: ClassVar[str] = "mlflow"
    extra: ClassVar[str | None] = "track"
    advice: ClassVar[str] = "Check MLFLOW_TRACKING_URI"
    states: ClassVar[Mapping[str, str]] = {FINISHED: "FINISHED", STOPPED: "KILLED", FAILED: "FAILED"}

    def __init__(self, run: TrackedRun):
        self.run = run
        self.last: dict[str, int] = {}

    def start(self, last: int) -> None:
        """Start a run, or go on with the one that is recorded if the store still has it."""
        mlflow = self.module()
        from accelerate.tracking import MLflowTracker

        self.resumed = self._stored(mlflow, self.run.recorded_id("mlflow"))
        tags = {"group": self.run.group} if self.run.group else None
        self.tracker = MLflowTracker(self.run.project, run_id=self.resumed, run_name=self.run.name, tags=tags)
        if self.run.group or self.resumed:
            self.tracker.run_id = self.resumed  # not that of MLFLOW_RUN_ID, which all runs of the group would share
        self.tracker.start()
        if self.resumed is None:
            self.run.record_id("mlflow", self.tracker.tracker.info.run_id)
            self.tracker.store_init_configuration(dict(self.run.config))

    @staticmethod
    def prepare(project: str) -> None:
        """Make the tables of a new store, and the experiment."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", project)
        client = MLflow.module().MlflowClient()
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name)

    @staticmethod
    def module() -> Any:
        """Import MLflow: with one line where a server does not answer, and nothing on stdout."""
        defaults = {"HTTP_REQUEST_MAX_RETRIES": 1, "HTTP_REQUEST_TIMEOUT": 20, "LOGGING_LEVEL": "ERROR"}
        for name, value in (defaults | {"SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}).items():
            os.environ.setdefault(f"MLFLOW_{name}", str(value))
        import mlflow

        return mlflow

    @staticmethod
    def _stored(mlflow: Any, run_id: str | None) -> str | None:
        """Return the number of a run if the store has it and it was not deleted."""
        if run_id is None:
            return None
        try:
            return run_id if mlflow.get_run(run_id).info.lifecycle_stage == "active" else None
        except mlflow.exceptions.MlflowException:
            return None

    def has(self, name: str, step: int) -> bool:
        """Return whether the store has it."""
        if self.resumed is None:
            return False
        if name not in self.last:
            history = self.module().MlflowClient().get_metric_history(self.resumed, name)
            self.last[name] = max((value.step for value in history), default=0)
        return step <= self.last[name]

    def log(self, values: Scalars, step: int) -> None:
        """Send the values of a step."""
        self.tracker.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """End the run with its state."""
        self.module().end_run(self.states[state])
