"""Real sweeps of a tiny cache."""

from pathlib import Path
from types import SimpleNamespace

SPACE = 'method = "kd"\nprecision = "float32"\nmax_steps = 9\nlr = [1e-3, 2e-3, 5e-3]\n'


def run_sweep(call, tiny, strategy, out, *more, space=SPACE):
    Path("space.toml").write_text(space)
    words = ["--cache", str(tiny.arrow), "--space", "space.toml", "--strategy", strategy, "--out", out, *more]
    found = call("sweep", *words)
    assert found.code == 0, found.stderr
    return found.json


def stub_trials(count, warmup=0.1):
    return [SimpleNamespace(key=f"k{i}", total=9, config=SimpleNamespace(warmup=warmup)) for i in range(count)]


def drive(strategy, score):
    """All waves as (share, keep, keys); `score` gives that of a trial at a share, None for a failure."""
    waves, wave = [], next(strategy, None)
    while wave is not None:
        waves.append((round(wave.share, 3), wave.keep, [trial.key for trial in wave.trials]))
        scores = {t.key: s for t in wave.trials if (s := score(t.key, wave.share)) is not None}
        try:
            wave = strategy.send(scores)
        except StopIteration:
            wave = None
    return waves
