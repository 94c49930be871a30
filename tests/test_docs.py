"""README and docs against the program: commands run in short form, files, links and figures exist."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow
import pyarrow.parquet
import pytest

from cli import main
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.paths import ROOT
from tests.helpers.rows import write_rows

RECIPES = "recipes.md"  # which has a test of its own
GENERATED = "commands.md"  # its lines are usage, not commands to type
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != GENERATED),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORT = {
    "finetune-teacher": "--max-steps 2",
    "cache-teacher": "--allow-weak-teacher",
    "train-student": "--max-steps 2",
    "predict": "--allow-changed-rows",
}
# (page, part of a command) -> why the command is not run here. Its options are checked all the same.
NOT_RUN = {
    ("scale.md", "--engine ray --ray-address auto"): "needs a Ray cluster",
}
# What the pages name -> what there is in the tests.
STAND_INS = {
    "bert-base-uncased": "encoder",
    "--model demo": "--model encoder",
    "sweeps/mnli-halving-1f2e3d4c": "sweeps/methods",
}
# Smaller spaces than those of docs/sweeps.md, for an encoder of four layers.
SHORTER_SPACES = {
    '["data/mnli-12", "data/mnli-24"]': '["data/mnli"]',
    "[3, 6]": "[2, 3]",
    "[0, 1, 2, 3, 4]": "[0, 1]",
    "student_layers = 3\n": "student_layers = 2\nmax_steps = 2\n",
}


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(path.read_text()) if kind == language]


def shell_lines(path: Path) -> list[str]:
    """Every line that a page gives to type, without its comment."""
    lines = [line for kind in ("console", "text") for text in blocks(path, kind) for line in text.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def commands(path: Path) -> list[str]:
    return [line.removeprefix("python cli.py ") for line in shell_lines(path) if line.startswith("python cli.py ")]


def replaced(text: str, pairs: dict[str, str]) -> str:
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


def glue(directory, header, row, files):
    directory.mkdir(parents=True)
    for name in files:
        (directory / name).write_text("\n".join([header, *(row.format(i) for i in range(40))]) + "\n")


@pytest.fixture
def workplace(in_directory):
    """What a user of the docs has: GLUE files, own rows, spaces, and an encoder (the hub is out of reach)."""
    glue(
        in_directory / "glue" / "RTE",
        "index\tsentence1\tsentence2\tlabel",
        "{0}\tthe film was good\tit is so\tentailment",
        ["train.tsv", "dev.tsv"],
    )
    test_rows = ["index\tsentence1\tsentence2", *(f"{i}\tthe film was good\tit is so" for i in range(5))]
    (in_directory / "glue" / "RTE" / "test.tsv").write_text("\n".join(test_rows) + "\n")
    glue(
        in_directory / "glue" / "MNLI",
        "index\tsentence1\tsentence2\tgold_label",
        "{0}\tthe film was bad\tit is fine\tneutral",
        ["train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"],
    )
    for name in ("train", "dev"):
        write_rows(in_directory / "rows.csv", 40, 1, labels=("billing", "network"))
        lines = (in_directory / "rows.csv").read_text().splitlines()
        own = ["subject,body,team", *(f"film,{line}" for line in lines[1:])]
        (in_directory / f"{name}.csv").write_text("\n".join(own) + "\n")
    scored = [
        {"text": f"a film {i}", "intent": intent, "scores": {intent: 0.8}}
        for i in range(20)
        for intent in ("pay", "none")
    ]
    for name in ("rows", "dev"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(scored), in_directory / f"{name}.parquet")
    space, methods = blocks(ROOT / "docs" / "sweeps.md", "toml")
    (in_directory / "space.toml").write_text(replaced(space, SHORTER_SPACES))
    (in_directory / "methods.toml").write_text(replaced(methods, SHORTER_SPACES))
    save_pretrained_encoder(in_directory / "encoder")
    return in_directory


def in_short(command: str, workplace: Path) -> list[str]:
    """A command of a page with less work to do, on what there is in the tests."""
    words = shlex.split(replaced(command, STAND_INS | {"s3://bucket": f"file://{workplace}/bucket"}))
    if words[0] == "cache-teacher" and "mnli" in words:
        words += ["--data-dir", "glue/MNLI"]
    if words[0] == "sweep" and words[1].startswith("--") and not {"--out", "--dry-run"} & set(words):
        words.append("--dry-run")
    return [*words, *SHORT.get(words[0], "").split()]


@pytest.mark.trains
def test_every_command_of_the_docs_runs_or_is_listed_with_a_reason(call, workplace):
    made = call("finetune-teacher", "--task=mnli", "--data-dir=glue/MNLI", "--model=encoder", "--max-steps=2")
    assert made.code == 0, made.stderr
    pages = [path for path in PAGES if path.name != RECIPES]
    todo = [(path.name, command) for path in pages for command in commands(path)]
    left_out = {entry for entry in NOT_RUN for name, command in todo if name == entry[0] and entry[1] in command}
    assert left_out == set(NOT_RUN), "NOT_RUN lists a command that is not in the docs any more"
    todo = [item for item in todo if not any(item[0] == name and part in item[1] for name, part in NOT_RUN)]
    assert [command.split()[0] for name, command in todo if name == "README.md"]
    # a sweep is looked at after it has run, on whichever page it is
    todo.sort(key=lambda item: item[1].startswith(("sweep status", "sweep show")))
    done = set()
    for name, command in todo:
        words = in_short(command, workplace)
        if tuple(words) in done:
            continue
        done.add(tuple(words))
        result = call(*words)
        assert result.code == 0, (name, command, result.stderr)
        grouped = words[0] in ("cache", "sweep") and not words[1].startswith("-")
        assert result.json["command"] == (" ".join(words[:2]) if grouped else words[0]), command
    assert Path("runs/rte/skip/model/model.safetensors").is_file()
    assert set(call("evaluate", next(Path("runs/mnli").glob("pkd-skip-2-*"))).json["metrics"]) == {
        *("dev_matched", "dev_mismatched"),
    }


def test_both_lines_of_the_user_are_in_the_readme():
    expected = ["cache-teacher --task mnli", "train-student --cache data/mnli"]
    assert [line for line in commands(ROOT / "README.md") if line in expected] == expected


def inline_commands(path: Path) -> Iterator[str]:
    """Commands between backticks in the text of a page."""
    for code in re.findall(r"`(python cli\.py [^`]+)`", FENCE.sub("", path.read_text())):
        if "…" not in code:
            yield " ".join(code.split()).removeprefix("python cli.py ")


def test_commands_have_valid_options():
    for path in PAGES:
        for line in [*inline_commands(path), *commands(path)]:
            group, words, context = main, shlex.split(line), click.Context(main)
            while isinstance(group, click.Group) and words and words[0] in group.commands:
                group, words = group.commands[words[0]], words[1:]
            unknown = isinstance(group, click.Group) and words and not words[0].startswith("-")
            assert group is not main and not unknown, (page_name(path), line)
            try:
                group.make_context("", words, parent=context)
            except click.ClickException as error:
                pytest.fail(f"{page_name(path)}: {line}: {error.format_message()}")


def test_make_commands_of_the_docs_are_targets():
    makefile = (ROOT / "Makefile").read_text()
    for path in PAGES:
        named = [line for line in shell_lines(path) if line.startswith("make ")]
        named += re.findall(r"`(make [\w-]+)`", path.read_text())
        for target in {line.split()[1] for line in named}:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page_name(path), target)
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


def test_cpu_build_of_the_readme_is_the_version_of_the_constraints():
    # another version would be replaced by the CUDA build of the pinned one
    (pinned,) = re.findall(r"^pip install (torch==\S+) --index-url", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert pinned in (ROOT / "constraints.txt").read_text().splitlines()


def test_extras_of_the_docs_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in PAGES:
        for named in re.findall(r"['`/.\w]\[([a-z0-9,]+)\]['`]", path.read_text()):
            assert set(named.split(",")) - {"default"} <= set(extras), (page_name(path), named)


# --- what pages name ---------------------------------------------------------------------------------------------


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_lead_to_files_and_headings(path):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", FENCE.sub("", path.read_text())):
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_paths_of_the_repository_exist(path):
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", path.read_text())):
        for word in code.split():
            if re.fullmatch(r"(pipeline|stages|tests|docs)/[\w./-]*|results/[\w-]+\.\w+", word):
                new = path.name == "extending.md" and f"a new `{word}`" in path.read_text()
                assert (ROOT / word).exists() is not new, word


def test_architecture_names_every_module_in_its_folder():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `((?:pipeline|stages)/[\w/]*)` \| (.+) \|$", page, re.MULTILINE)
    named = {folder + name for folder, text in rows for name in re.findall(r"`(\w+\.py)`", text)}
    paths = [path for top in ("pipeline", "stages") for path in (ROOT / top).rglob("*.py")]
    assert named == {page_name(path) for path in paths if path.name != "__init__.py"} - {"pipeline/errors.py"}


def test_commands_of_reliability_select_tests():
    page = (ROOT / "docs" / "reliability.md").read_text()
    lines = re.findall(r"`pytest ([^`]+)`", page)
    assert lines
    for line in lines:
        words = shlex.split(line)
        files = [ROOT / word for word in words if word.endswith(".py")]
        tests = re.findall(r"^def (test_\w+)", "\n".join(file.read_text() for file in files), re.MULTILINE)
        selected = words[words.index("-k") + 1].split(" or ") if "-k" in words else ["test"]
        for part in selected:
            assert [name for name in tests if part in name], (line, part)


# --- figures -----------------------------------------------------------------------------------------------------


def figure_rows() -> Iterator[tuple[Path, str, Path]]:
    """(page, row without its link, file) of each row of a table in README and docs/results.md that links to a file."""
    for path in (ROOT / "README.md", ROOT / "docs" / "results.md"):
        for row, link in re.findall(r"^(\|.*\|) \[\w+\]\(([^)]+\.json)\) \|$", path.read_text(), re.MULTILINE):
            yield path, row, path.parent / link


def numbers(value: object) -> Iterator[float]:
    """Every number in a file of results, those of texts included."""
    match value:
        case dict():
            for part in value.values():
                yield from numbers(part)
        case list():
            for part in value:
                yield from numbers(part)
        case bool() | None:
            return
        case int() | float():
            yield abs(value)
        case str() if re.fullmatch(r"[\d.]+", value) and value.count(".") < 2:
            yield float(value)


def test_figures_of_the_tables_are_in_their_files():
    rows = [*figure_rows()]
    assert {path.name for path, _, _ in rows} == {"README.md", "results.md"} and len(rows) > 25
    for path, row, file in rows:
        measured = [*numbers(json.loads(file.read_text()))]
        figures = re.findall(r"(?<![\w.])\d+\.\d+", row)
        assert figures, row
        for figure in figures:
            places = len(figure.partition(".")[2])
            seen = any(f"{scaled:.{places}f}" == figure for value in measured for scaled in (value, 100 * value))
            assert seen, (page_name(path), row, figure)


def test_ratios_are_those_that_were_measured():
    for path in (ROOT / "results").glob("benchmark-*.json"):
        record = json.loads(path.read_text())
        assert not record["quick"], f"{path} is a first impression: make the figures with the full benchmark"
    quoted = 0
    for _, row, file in figure_rows():
        if ratio := re.fullmatch(r"\| .+ \| .+ \| ([\d.]+ \| [\d.]+ – [\d.]+) \|", row):
            ratios = json.loads(file.read_text())["ratios"].values()
            assert ratio[1] in {f"{found['median']:.2f} | {found['low']:.2f} – {found['high']:.2f}" for found in ratios}
            quoted += 1
    assert quoted > 15


def test_quick_start_table_is_the_one_that_was_measured():
    measured = (ROOT / "results" / "quickstart-full.md").read_text()
    assert measured.strip() in (ROOT / "README.md").read_text()
    rows = json.loads((ROOT / "results" / "quickstart-full.json").read_text())["rows"]
    for row in rows:
        line = next(line for line in measured.splitlines() if line.startswith(f"| {row['model']} | {row['layers']} |"))
        assert f" | {row['accuracy']:.1%} | {row['agreement']:.1%} |" in line


def test_counts_of_reliability_are_those_that_were_seen():
    page = (ROOT / "docs" / "reliability.md").read_text()
    figures = json.loads((ROOT / "results" / "reliability.json").read_text())["figures"]
    one, two = figures["SIGKILL of one cache-teacher"], figures["SIGKILL with --workers 2"]
    assert f"{one['kills']} alone, {two['parents_killed']} parents and {two['workers_killed']} workers" in page
    assert f"{one['opens_refused'] + two['opens_refused']:,}" in page and two["orphans"] == 0
    mutations = figures["mutations"]
    kinds = [sum(n for kind, n in mutations.items() if kind.endswith(end)) for end in ("refused", "equal", "sound")]
    assert f"| {mutations['count']:,} | 10,000 |" in page and sum(kinds) == mutations["count"]
    assert " / ".join(f"{kind:,}" for kind in kinds) in page
    for container in ("arrow", "hdf5"):
        memory = figures[f"memory of 8 readers, {container}"]
        assert f"{memory['Pss'] / memory['bytes_of_the_cache']:.2f}" == "1.00" and "1.00 Arrow, 1.00 HDF5" in page
    cost = figures["cost of the background check, as a share of an epoch"]
    assert f"{cost['processor_share_checked']:.2%}".replace("%", " %") in page
    assert f"{cost['processor_share_remembered']:.2%}".replace("%", " %") in page
