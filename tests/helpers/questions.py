"""Questions with choices that a tiny encoder can read."""

import json
import random
from pathlib import Path

from tests.helpers.rows import WORDS

SEQUENCES = 3


def write_questions(path: Path, count: int, seed: int, answers: bool = True) -> Path:
    """Write texts, each with a question and three choices, of which one is a word of the text; answers are letters."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        words = draw.sample(WORDS, len(WORDS))
        place = draw.randrange(SEQUENCES)
        choices = words[-SEQUENCES:]
        text = words[: draw.randint(4, len(WORDS) - SEQUENCES)]
        text[draw.randrange(len(text))] = choices[place]
        row = {"text": " ".join(text), "question": " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))}
        row |= {"options": [" ".join([word] * draw.randint(1, 3)) for word in choices]}
        lines.append(json.dumps(row | ({"answer": "ABC"[place]} if answers else {})))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_articles(directory: Path, levels: tuple[str, ...] = ("middle", "high"), articles: int = 3) -> Path:
    """Write a directory in the layout of RACE."""
    for split in ("train", "dev", "test"):
        for level in levels:
            folder = directory / split / level
            folder.mkdir(parents=True)
            for number in range(articles):
                record = {
                    "article": f"the {level} {split} film of book {number}",
                    "questions": ["is it good", "what was it"],
                    "options": [["good", "bad", "dull", "fine"], ["a book", "a film", "a plot", "so so"]],
                    "answers": ["A", "D"],
                    "id": f"{level}{number}.txt",
                }
                (folder / f"{9 + number}.txt").write_text(json.dumps(record))
    return directory
