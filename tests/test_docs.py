"""README and docs against what is there: commands run in short form, files and figures exist."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.paths import ROOT
from tests.helpers.rows import write_rows

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^python cli\.py (.+)$", README, re.MULTILINE)
SHORT = {
    "finetune-teacher": "--max-steps 2",
    "cache-teacher": "--allow-weak-teacher",
    "train-student": "--max-steps 2",
    "sweep": "--dry-run",
}


def glue(directory, header, row, files):
    directory.mkdir(parents=True)
    for name in files:
        (directory / name).write_text("\n".join([header, *(row.format(i) for i in range(40))]) + "\n")


@pytest.fixture
def workplace(in_directory):
    """What a user of the README has: GLUE files, own rows, and a teacher for MNLI (the hub is out of reach)."""
    glue(
        in_directory / "glue" / "RTE",
        "index\tsentence1\tsentence2\tlabel",
        "{0}\tthe film was good\tit is so\tentailment",
        ["train.tsv", "dev.tsv"],
    )
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
    save_pretrained_encoder(in_directory / "encoder")
    return in_directory


def test_commands_of_the_readme(call, workplace):
    made = call("finetune-teacher", "--task=mnli", "--data-dir=glue/MNLI", "--model=encoder", "--max-steps=2")
    assert made.code == 0, made.stderr
    assert len(COMMANDS) == 17
    for command in COMMANDS:
        words = shlex.split(command.replace("s3://bucket", f"file://{workplace}/bucket"))
        if "--model" in words:
            words[words.index("--model") + 1] = "encoder"
        if words[0] == "cache-teacher" and "mnli" in words:
            words += ["--data-dir", "glue/MNLI"]
        result = call(*words, *SHORT.get(words[0], "").split())
        assert result.code == 0, (command, result.stderr)
        assert result.json["command"] == (" ".join(words[:2]) if words[0] == "cache" else words[0])
    assert Path("runs/rte/skip/model/model.safetensors").is_file()
    assert set(call("evaluate", next(Path("runs/mnli").glob("pkd-skip-2-*"))).json["metrics"]) == {
        *("dev_matched", "dev_mismatched"),
    }


def test_links_and_files_exist():
    for page in [ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_file_map_names_every_module():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for folder in ("stages", "pipeline"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.name == "__init__.py" or path.name in page, path


def test_the_table_is_the_one_that_was_measured():
    measured = (ROOT / "results" / "quickstart-full.md").read_text()
    assert measured.strip() in README
    rows = json.loads((ROOT / "results" / "quickstart-full.json").read_text())["rows"]
    for row in rows:
        assert f"| {row['model']} | {row['layers']} | {row['accuracy']:.1%} |" in measured


def test_the_counts_of_reliability_are_those_that_were_seen():
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


def test_the_make_commands_of_the_readme_are_targets():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)$", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


def test_the_comparison_quotes_what_was_measured():
    measured = set()
    for path in (ROOT / "results").glob("benchmark-*.json"):
        record = json.loads(path.read_text())
        assert not record["quick"], f"{path} is a first impression: make the README's figures with the full benchmark"
        for found in record["ratios"].values():
            measured.add(f"{found['median']:.2f} | {found['low']:.2f} – {found['high']:.2f}")
    quoted = re.findall(r"^\| .+ \| .+ \| ([\d.]+ \| [\d.]+ – [\d.]+) \|$", README, re.MULTILINE)
    assert len(quoted) > 10 and set(quoted) <= measured
