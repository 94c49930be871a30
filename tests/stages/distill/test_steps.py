import pytest

from pipeline.config.evaluation import EvaluateConfig
from pipeline.errors import BadRun
from stages.distill.steps import Steps


def refuse(config):
    raise BadRun("refused")


def test_each_step_is_printed_and_kept_as_one_types_it(capsys):
    steps = Steps()
    assert steps.run("evaluate", lambda config: config.run, EvaluateConfig(run="a b")) == "a b"
    with pytest.raises(BadRun, match="refused"):
        steps.run("evaluate", refuse, EvaluateConfig(run="c", split="test"))
    assert steps.lines == ["python cli.py evaluate 'a b'", "python cli.py evaluate c --split test"]
    printed = capsys.readouterr()
    assert printed.err == "".join(f"\n$ {line}\n" for line in steps.lines) and not printed.out
