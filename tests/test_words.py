"""The language of code, help and documentation: words and phrases that a stranger must read twice do not come back."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.helpers.paths import ROOT

# Phrase -> what to write instead.
PHRASES = {
    r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b)\w+": "X is not Y; there is no Y",
    r"\b(mend|mends|mended|mending)\b": "fix",
    r"\blikewise\b": "say it again, in full",
    r"\bbegun\b": "started",
    r"\btold\b": "reported, stated, written",
    r"\b(whereto|whereof|wherefrom|thereof|thereby|hitherto|whither|thence|hence)\b": "say it in plain words",
    r"\b(be|is|are|was|were) had\b": "could not be read, loaded, downloaded",
    r"\bstands? (in|for|here|there|beside|behind)\b": "is in, means",
    r"\b(lies|lie) (in|here|there|beside)\b": "is in",
    r"\b(examples|rows|bytes|tokens|seconds|steps|batches|files|tests|lines|students|values) an? "
    r"(batch|row|second|step|shard|rung|run|layer|class|student|group|trial|split|process|label|call|folder)\b": "per",
    r"\bof (all|what) (that|is)\b": "of everything that",
    r"\bneither of\b|\bnobody\b|\bsomebody\b|\beverybody\b": "name who",
    r"\bas ever\b|\ball the same\b|\bby (him|her)self\b|\bmeanwhile\b": "while, anyway",
    r"\bmade up\b|\bmake up\b|\bmakes? known\b": "invented",
    r"\bat one'?s\b|\bthe house\b": "source layout",
}
FIRST_LINES = r"^(Of|The same|What|Where|Who|How|When|As|With|Meanwhile|Likewise|To) "  # start with a verb or a noun
IDENTIFIERS = set(
    "about again alike anew another asked away elsewhere found gone had having known left made mended mine of one "
    "other others own said seen shown such tell tells them then there these they this those told was what where which "
    "who whole".split()
)
ON_DISK = {"found", "made", "known", "what"}  # names of JSON keys and of arguments on the command line
CODE = [ROOT / "cli.py", *sorted((ROOT / "pipeline").rglob("*.py")), *sorted((ROOT / "stages").rglob("*.py"))]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.exists()
]
HISTORY = {"log.md"}  # entries keep their words


def name_of(path) -> str:
    return str(path.relative_to(ROOT))


def texts(path) -> Iterator[tuple[int, str]]:
    """Return (line, text) of every string, docstring and comment of a Python file."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
    for number, line in enumerate(source.splitlines(), 1):
        if "#" in line and (comment := line.partition("#")[2]).startswith((" ", ":")):
            yield number, comment


def problems(lines: Iterator[tuple[int, str]]) -> list[str]:
    return [
        f"line {number}: {match[0]!r} -> {instead}"
        for number, text in lines
        for phrase, instead in PHRASES.items()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_code_is_plain_english(path):
    assert not problems(texts(path))


@pytest.mark.parametrize("path", [path for path in PAGES if path.name not in HISTORY], ids=name_of)
def test_page_is_plain_english(path):
    prose = re.sub(r"^```.*?^```", lambda match: "\n" * match[0].count("\n"), path.read_text(), flags=re.M | re.S)
    assert not problems(enumerate(prose.splitlines(), 1))


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_docstrings_start_with_what_the_thing_does(path):
    nodes = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Module)
    ]
    lines = [(ast.get_docstring(node) or "").split("\n")[0] for node in nodes]
    assert not [line for line in lines if re.match(FIRST_LINES, line)]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_function_word_is_a_name(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case (
                ast.Name(id=name, ctx=ast.Store())
                | ast.arg(arg=name)
                | ast.FunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name.strip("_"))
    assert not names & (IDENTIFIERS - ON_DISK)
