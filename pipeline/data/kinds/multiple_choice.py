"""Multiple choice: which of S choices answers a question. An example is S sequences, each with one logit."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from pipeline.data.kinds.single_label import SingleLabel

MOST_CHOICES = len(ascii_uppercase)


@dataclass(frozen=True)
class MultipleChoice(SingleLabel):
    """One of S choices, called A, B, … by their places: another question has others, so they are not classes."""

    name = "multiple-choice"
    problem_type = ""  # transformers tells such a model by its class
    has_classes = False

    def accepts(self, problem_type: str | None) -> bool:
        """Return True: whether a model chooses is said by its class."""
        return True

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return S, 2 to 26. Raises ValueError for labels that are not the first S letters."""
        if len(labels) < 2 or tuple(labels) != choice_names(len(labels)):
            raise ValueError(f"{len(labels)} labels that are not the letters of choices")
        return len(labels)

    def sequences(self, num_logits: int) -> int:
        """Return S."""
        return num_logits

    def describe(self, labels: Sequence[str]) -> str:
        """Return the number of choices."""
        return f"{len(labels)} choices"

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return accuracy: places of choices do not mean anything of their own."""
        return ("accuracy",)


def choice_names(sequences: int) -> tuple[str, ...]:
    """Return the names of S choices, A to Z at most."""
    return tuple(ascii_uppercase[:sequences])
