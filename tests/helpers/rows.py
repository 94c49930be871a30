"""Rows of a task that a tiny encoder can learn."""

import random
from pathlib import Path

WORDS = "a the film book plot actor scene good great bad dull fine poor very not quite it is was so".split()
GOOD = ("good", "great", "fine")


def write_rows(path: Path, count: int, seed: int, labels=("neg", "pos")) -> Path:
    """Write sentences labelled by whether they contain a good word: a task that a tiny encoder can learn."""
    draw = random.Random(seed)
    lines = ["text,label"]
    for _ in range(count):
        good = draw.random() < 0.5
        words = draw.choices([word for word in WORDS if word not in GOOD], k=draw.randint(3, 30))
        if good:
            words[draw.randrange(len(words))] = draw.choice(GOOD)
        lines.append(f"{' '.join(words)},{labels[good]}")
    path.write_text("\n".join(lines) + "\n")
    return path
