"""Lines of Python that use a model, for its card: for each kind of task."""

from collections.abc import Mapping
from typing import Any

from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION
from pipeline.system.markdown import fenced

PLACE = "DIRECTORY"  # of the model, in the lines
_PIPELINE = f'from transformers import pipeline\n\nmodel = pipeline("text-classification", "{PLACE}"%s)\n'
_CHOICES = f"""import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{PLACE}")
model = AutoModelForMultipleChoice.from_pretrained("{PLACE}").eval()
%s
inputs = tokenizer(
    [text] * len(choices),
    %s,
    truncation="only_first",
    max_length=%d,
    padding=True,
    return_tensors="pt",
)
with torch.inference_mode():
    logits = model(**{{name: values[None] for name, values in inputs.items()}}).logits
print(choices[logits.argmax().item()])"""


def usage(record: Mapping[str, Any]) -> str:
    """Return the lines for a model of a run.json, with the settings of its predictions."""
    kind, columns = record.get("kind"), record.get("text_columns")
    settings = record.get("settings") if isinstance(record.get("settings"), Mapping) else {}
    length = record.get("max_length") if isinstance(record.get("max_length"), int) else 512
    is_pair = isinstance(columns, list | tuple) and len(columns) == 2
    texts = '{"text": "A text.", "text_pair": "Another text."}' if is_pair else '"A text."'
    if kind == MULTIPLE_CHOICE.name:
        labels = record.get("labels")
        count = len(labels) if isinstance(labels, list | tuple) else 4
        choices = [f"choice {number}" for number in range(1, count + 1)]
        given, seconds = f'text, choices = "A text.", {choices}', "choices"
        if is_pair:  # the second text, a question, is read with each choice
            given = f'text, question, choices = "A text.", "A question?", {choices}'
            seconds = '[f"{question} {choice}" for choice in choices]'
        return fenced(_CHOICES % (given, seconds, length), "python")
    cut = f"truncation=True, max_length={length}"
    if kind == MULTI_LABEL.name:
        threshold = _number(settings, "label_threshold", 0.5)
        lines = _PIPELINE % ", top_k=None"
        lines += f"scores = model([{texts}], {cut})[0]\n"
        lines += f'print([each["label"] for each in scores if each["score"] >= {threshold!r}])'
    elif kind in (REGRESSION.name, SCALED_REGRESSION.name):
        mean, std = _number(settings, "label_mean", 0.0), _number(settings, "label_std", 1.0)
        lines = _PIPELINE % ', function_to_apply="none"'
        lines += f"[score] = model([{texts}], {cut})\n"
        lines += f'print({mean!r} + {std!r} * score["score"])'
    else:
        lines = _PIPELINE % ""
        lines += f"print(model([{texts}], {cut}))"
    return fenced(lines, "python")


def _number(settings: Any, name: str, default: float) -> float:
    value = settings.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
