"""The lines of Python with which an export is used, in its directory, without this program."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, TaskKind


@dataclass(frozen=True)
class Usage:
    """What the lines depend on: the kind of task with the settings of the model, and what its rows are like."""

    kind: TaskKind
    labels: tuple[str, ...]
    texts: int  # columns
    max_length: int

    @classmethod
    def of(cls, record: Any, kind: TaskKind) -> "Usage":
        """Return the usage of a model with this `InputRecord`."""
        return cls(kind, record.labels, len(record.text_columns), record.max_length)

    @property
    def is_pair(self) -> bool:
        """Whether a row has two texts."""
        return self.texts > 1

    def lines(self, format: str) -> str:
        """Return the program for an export in this format."""
        if self.kind.name == MULTIPLE_CHOICE.name:
            return _joined(_choice_onnx(self) if format == "onnx" else _choice_torch(self))
        return _joined(_onnx(self) if format == "onnx" else _pipeline(self))


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def _pipeline(usage: Usage) -> list[str]:
    texts = ['texts = ["a first text", "another text"]']
    if usage.is_pair:
        texts = ['texts = [{"text": "a first text", "text_pair": "the text beside it"}]']
    head = ["from transformers import pipeline", "", *texts, 'classify = pipeline("text-classification", model=".")']
    options = f"truncation=True, max_length={usage.max_length}"
    if usage.kind.name == MULTI_LABEL.name:
        call = f'classify(texts, top_k=None, function_to_apply="sigmoid", {options})'
        chosen = '[entry["label"] for entry in entries if entry["score"] >= threshold]'
        threshold = usage.kind.settings["label_threshold"]
        return [*head, f"threshold = {threshold!r}", f"for entries in {call}:", f"    print({chosen})"]
    if not usage.kind.has_classes:
        call = f'classify(texts, function_to_apply="none", {options})'
        score = _score(usage, 'entry["score"]')
        return [*head, f"for entry in {call}:", f"    print({score})"]
    return [*head, f"print(classify(texts, {options}))"]


def _score(usage: Usage, logit: str) -> str:
    """Return the expression of a score in the user's units."""
    settings = usage.kind.settings
    return f"{settings['label_mean']!r} + {settings['label_std']!r} * {logit}" if settings else logit


def _session(usage: Usage) -> list[str]:
    """Return the first lines of a program for onnxruntime."""
    labels = [f"labels = {list(usage.labels)!r}"] if usage.labels and usage.kind.has_classes else []
    return [
        "import numpy as np",
        "import onnxruntime",
        "from transformers import AutoTokenizer",
        "",
        *labels,
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        'session = onnxruntime.InferenceSession("model.onnx")',
        "names = [entry.name for entry in session.get_inputs()]",
    ]


def _onnx(usage: Usage) -> list[str]:
    texts = '["a first text"], ["the text beside it"]' if usage.is_pair else '["a first text", "another text"]'
    options = f'padding=True, truncation=True, max_length={usage.max_length}, return_tensors="np"'
    head = [
        *_session(usage),
        f"batch = tokenizer({texts}, {options})",
        'logits = session.run(["logits"], {name: batch[name].astype(np.int64) for name in names})[0]',
    ]
    if usage.kind.name == MULTI_LABEL.name:
        return [
            *head,
            "for row in 1 / (1 + np.exp(-logits)):",
            f"    print([label for label, p in zip(labels, row) if p >= {usage.kind.settings['label_threshold']!r}])",
        ]
    if not usage.kind.has_classes:
        return [*head, f"print({_score(usage, 'logits[:, 0]')})"]
    return [
        *head,
        "exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))",
        "for row in exponentials / exponentials.sum(axis=1, keepdims=True):",
        "    print(labels[row.argmax()], float(row.max()))",
    ]


def _question(usage: Usage) -> list[str]:
    """Return the lines that make `text` and `seconds`, of a question with its choices."""
    choices = [f"choice {letter}" for letter in usage.labels]
    if not usage.is_pair:
        return ['text = "a text"', f"choices = seconds = {choices!r}"]
    return [
        'text, question = "a text", "a question?"',
        f"choices = {choices!r}",
        'seconds = [f"{question} {choice}" for choice in choices]',
    ]


def _choice_batch(usage: Usage, tensors: str) -> list[str]:
    options = f'padding=True, truncation="only_first", max_length={usage.max_length}, return_tensors="{tensors}"'
    return [f"batch = tokenizer([text] * len(choices), seconds, {options})"]


def _choice_torch(usage: Usage) -> list[str]:
    return [
        "import torch",
        "from transformers import AutoModelForMultipleChoice, AutoTokenizer",
        "",
        *_question(usage),
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        'model = AutoModelForMultipleChoice.from_pretrained(".")',
        *_choice_batch(usage, "pt"),
        "with torch.inference_mode():",
        "    logits = model(**{name: tensor[None] for name, tensor in batch.items()}).logits",
        "print(choices[int(logits.argmax())])",
    ]


def _choice_onnx(usage: Usage) -> list[str]:
    return [
        *_session(usage),
        *_question(usage),
        *_choice_batch(usage, "np"),
        'logits = session.run(["logits"], {name: batch[name][None].astype(np.int64) for name in names})[0]',
        "print(choices[logits[0].argmax()])",
    ]
