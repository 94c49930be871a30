"""The outcome of a job's trials."""

import json

from pipeline.config.training import TrainStudentConfig
from pipeline.training.training_state import Evaluation, PausedTraining
from stages.sweep.execution import worker


def test_training_brought_further_by_another_process_is_scored_before_the_rung(tmp_path):
    lines = [{"kind": "eval", "step": step, "metrics": {"accuracy": step / 100}} for step in (20, 40, 80)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = TrainStudentConfig(cache="c", out=str(tmp_path))
    further = PausedTraining(80, 90, Evaluation(80, 2.0, {"accuracy": 0.8}))

    def score(until):
        return worker._at_rung(further, config, until).evaluation.score

    assert [score(until) for until in (40, 50, 79, 80)] == [0.4, 0.4, 0.4, 0.8]
    assert score(10) == 0.2  # nothing before: the first one after it
    assert worker._at_rung(further, config, None) is further
