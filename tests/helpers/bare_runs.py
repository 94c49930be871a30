"""Runs as a training leaves them, with a tiny random model, of any kind of task."""

import json
from pathlib import Path

from pipeline.data.tasks import head_of
from pipeline.models.checkpoints import load_classifier
from tests.helpers.encoders import save_pretrained_encoder, tokenizer


def bare_run(directory: Path, kind, labels, settings=(), **record) -> Path:
    """Write a run whose model is random: what a training of this kind of task leaves."""
    encoder = save_pretrained_encoder(directory.parent / f"{directory.name}-encoder")
    model = load_classifier(str(encoder), head=head_of(kind, labels))
    for name, value in dict(settings).items():
        setattr(model.config, name, value)
    model.save_pretrained(directory / "model")
    tokenizer().save_pretrained(directory / "model")
    fields = {"task": "own", "kind": kind.name, "labels": list(labels), "text_columns": ["text"], "max_length": 64}
    run = {"command": "train-student", "config": {"precision": "float32"}, "inputs": {}, "result": {}}
    (directory / "run.json").write_text(json.dumps(run | fields | record))
    return directory
