"""The lines of Python that use an ONNX export, in its directory, without this program: for each kind of task."""

from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, TaskKind
from pipeline.training.input_record import InputRecord


def onnx_usage(record: InputRecord, kind: TaskKind) -> str:
    """Return the program for a model with these inputs; `kind` has the settings of the model."""
    is_pair = len(record.text_columns) > 1
    if kind.name == MULTIPLE_CHOICE.name:
        return "\n".join(_choices(record, is_pair))
    texts = '["a first text"], ["the text beside it"]' if is_pair else '["a first text", "another text"]'
    options = f'padding=True, truncation=True, max_length={record.max_length}, return_tensors="np"'
    head = [
        *_session(),
        f"batch = tokenizer({texts}, {options})",
        'logits = session.run(["logits"], {name: batch[name].astype(np.int64) for name in names})[0]',
    ]
    return "\n".join([*head, *_predictions(record, kind)])


def _session() -> list[str]:
    """Return the first lines of every program."""
    return [
        "import numpy as np",
        "import onnxruntime",
        "from transformers import AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        'session = onnxruntime.InferenceSession("model.onnx")',
        "names = [entry.name for entry in session.get_inputs()]",
    ]


def _predictions(record: InputRecord, kind: TaskKind) -> list[str]:
    """Return the lines that print what logits [n, C] predict."""
    if not kind.has_classes:
        settings = kind.settings
        return [
            f"print({settings['label_mean']!r} + {settings['label_std']!r} * logits[:, 0])"
            if settings
            else "print(logits[:, 0])"
        ]
    labels = f"labels = {list(record.labels)!r}"
    if kind.name == MULTI_LABEL.name:
        threshold = kind.settings["label_threshold"]
        return [
            labels,
            "for row in 1 / (1 + np.exp(-logits)):",
            f"    print([label for label, p in zip(labels, row) if p >= {threshold!r}])",
        ]
    return [
        labels,
        "exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))",
        "for row in exponentials / exponentials.sum(axis=1, keepdims=True):",
        "    print(labels[row.argmax()], float(row.max()))",
    ]


def _choices(record: InputRecord, is_pair: bool) -> list[str]:
    """Return the program for a question with its choices."""
    choices = f"choices = {[f'choice {letter}' for letter in record.labels]!r}"
    question = ['text, question = "a text", "a question?"', 'seconds = [f"{question} {choice}" for choice in choices]']
    text, seconds = question if is_pair else ('text = "a text"', "seconds = choices")
    options = f'padding=True, truncation="only_first", max_length={record.max_length}, return_tensors="np"'
    return [
        *_session(),
        text,
        choices,
        seconds,
        f"batch = tokenizer([text] * len(choices), seconds, {options})",
        'logits = session.run(["logits"], {name: batch[name][None].astype(np.int64) for name in names})[0]',
        "print(choices[logits[0].argmax()])",
    ]
