"""The recipes of docs/recipes.md, each run in small form."""

import json
import re
import shlex
from pathlib import Path

import pytest
import transformers
from tokenizers import BertWordPieceTokenizer

from tests.helpers.encoders import SIZES, save_pretrained_encoder, tokenizer
from tests.helpers.paths import ROOT
from tests.helpers.rows import write_rows

pytestmark = pytest.mark.trains

PAGE = (ROOT / "docs" / "recipes.md").read_text()
RECIPES = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
SHORT = {
    "finetune-teacher": "--max-steps 1 --max-length 32 --precision float32",
    "cache-teacher": "--allow-weak-teacher --max-length 32 --precision float32",
    "train-student": "--max-steps 1 --precision float32",
    "evaluate": "--precision float32",
    "distill": "--trials 2 --max-steps 1 --max-length 32 --precision float32 --allow-weak-teacher --format safetensors",
    "predict": "--precision float32",
    "export": "",
}
SENTENCE, OTHER = "the film was good", "it is so bad"
CHINESE = "这部电影很好看不错差坏的了"


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def glue(directory: str, header: str | None, row: str, labels: tuple, files: tuple = ("train", "dev")) -> None:
    for name in files:
        rows = [row.format(label=labels[i % len(labels)]) for i in range(16)]
        write_lines(Path("glue", directory, f"{name}.tsv"), [*([header] if header else []), *rows])


def race() -> None:
    article = {"article": SENTENCE, "questions": [f"{OTHER} _"] * 2, "options": [["good", "bad", "fine", "dull"]] * 2}
    for split in ("train", "dev", "test"):
        for number in range(4):
            path = Path("RACE", split, "middle", f"{number}.txt")
            write_lines(path, [json.dumps(article | {"answers": ["ABCD"[number], "A"], "id": f"middle{number}.txt"})])


def own_rows() -> None:
    pairs = [f"film,{SENTENCE},{team}" for team in ("billing", "network") * 20]
    write_lines(Path("tickets.csv"), ["subject,body,team", *pairs])
    for split, seed in (("train", 1), ("dev", 2)):
        scores = [f"{SENTENCE if i % 2 else OTHER},{1000 + 37.5 * i}" for i in range(16)]
        write_lines(Path(f"quality-{split}.csv"), ["text,score", *scores])
        emotions = [{"text": SENTENCE, "labels": [["joy"], ["joy", "surprise"], []][i % 3]} for i in range(16)]
        write_lines(Path(f"emotions-{split}.jsonl"), [json.dumps(row) for row in emotions])
        spam = [f"{OTHER},{'spam' if i % 8 == 0 else 'fine'}" for i in range(16)]
        write_lines(Path(f"spam-{split}.csv"), ["text,label", *spam])
        write_rows(Path(f"reviews-{split}.csv"), 20, seed)
        scored = [{"text": SENTENCE, "label": "np"[i % 2], "scores": {"np"[i % 2]: 0.75}} for i in range(16)]
        write_lines(Path(f"scored-{split}.jsonl"), [json.dumps(row) for row in scored])
        chinese = [f"这部电影很{'好' if i % 2 else '差'},{'good' if i % 2 else 'bad'}" for i in range(16)]
        write_lines(Path(f"chinese-{split}.csv"), ["text,label", *chinese])

    write_rows(Path("few.csv"), 8, 3)
    for part in "ab":
        write_lines(Path(f"sentences-{part}.csv"), ["text", *(f"{SENTENCE} {part}", OTHER) * 6])


def chinese_encoder(directory: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(CHINESE)]
    config = transformers.BertConfig(**SIZES | {"vocab_size": len(vocabulary)})
    transformers.AutoModel.from_config(config).save_pretrained(directory)
    write_lines(directory / "vocab.txt", vocabulary)
    backend = BertWordPieceTokenizer(str(directory / "vocab.txt"), handle_chinese_chars=True)
    transformers.BertTokenizerFast(tokenizer_object=backend._tokenizer).save_pretrained(directory)


@pytest.fixture
def workplace(in_directory):
    """The files and checkpoints that the recipes name; `models` has those that a user takes from the hub."""
    glue("SST-2", "sentence\tlabel", f"{SENTENCE}\t{{label}}", (0, 1))
    pair = f"0\t{SENTENCE}\t{OTHER}\t{{label}}"
    glue("RTE", "index\tsentence1\tsentence2\tlabel", pair, ("entailment", "not_entailment"))
    glue("CoLA", None, f"gj04\t{{label}}\t\t{SENTENCE}", (0, 1))
    glue("STS-B", "index\tsentence1\tsentence2\tscore", pair, (1.5, 4.25))
    mnli = ("train", "dev_matched", "dev_mismatched")
    labels = ("entailment", "neutral", "contradiction")
    glue("MNLI", "index\tsentence1\tsentence2\tgold_label", pair, labels, mnli)
    race()
    own_rows()
    return in_directory


def model(name: str) -> str:
    """The path of a small model in place of one of the hub."""
    directory = Path("models", name)
    if directory.exists():
        return str(directory)
    if name == "bert-base-chinese":
        chinese_encoder(directory)
    elif name == "distilbert-base-uncased-finetuned-sst-2-english":
        names = {"id2label": {0: "NEGATIVE", 1: "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}
        config = transformers.DistilBertConfig(dim=32, n_layers=4, n_heads=2, hidden_dim=64, vocab_size=32, **names)
        transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
        tokenizer(types=False).save_pretrained(directory)
    elif name == "microsoft/mpnet-base":
        save_pretrained_encoder(directory, "mpnet", hidden_size=48)
    elif name == "bert-large-uncased":
        save_pretrained_encoder(directory, num_hidden_layers=24)
    else:
        save_pretrained_encoder(directory, "modernbert" if "ModernBERT" in name else "bert")
    return str(directory)


def in_small(line: str) -> list[str]:
    words = shlex.split(line.removeprefix("python cli.py "))
    for option in ("--model", "--teacher", "--init"):
        if option in words:
            words[words.index(option) + 1] = model(words[words.index(option) + 1])
    return [*words, *("" if "--target-columns" in words else SHORT[words[0]]).split()]  # no model runs there


def test_there_are_nineteen():
    assert len(RECIPES) == 19


@pytest.mark.parametrize("title", RECIPES)
def test_recipe_makes_a_student(title, workplace, call):
    lines = re.findall(r"^python cli\.py .*$", RECIPES[title], re.MULTILINE)
    results = {}
    for line in lines:
        result = call(*in_small(line))
        assert result.code == 0, (line, result.stderr)
        results[result.json["command"]] = result.json
    [student] = [results[name] for name in ("train-student", "distill") if name in results]
    choices = "race" in title.lower()
    auto = transformers.AutoModelForMultipleChoice if choices else transformers.AutoModelForSequenceClassification
    loaded = auto.from_pretrained(f"{student.get('winner', student['out'])}/model")
    assert loaded.config.num_hidden_layers == student["student_layers"]
    assert student["metrics"] and all(student["metrics"].values())
