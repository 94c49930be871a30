"""Benchmark `transfer` on few sentences: what it writes, reads and measures."""

from types import SimpleNamespace

import pytest

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadCache
from stages.benchmarks import transfer
from stages.benchmarks.harness.process_memory import RESIDENT


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("transfer")
    transfer.write_teacher_and_rows(directory, (50, 120))
    return directory


def test_sentences_differ_and_are_rows_without_labels(directory):
    rows = load_rows(transfer.rows_config(directory, 120))
    (part,) = rows.transfer.parts(500)
    assert len(part) == len(set(part.texts[0])) == 120 and rows.leak_counts() == {"train": 0, "transfer": 0}
    lengths = {len(text.split()) for text in part.texts[0]}
    assert min(lengths) >= transfer.FEWEST_WORDS and max(lengths) <= transfer.MOST_WORDS
    assert [len(split) for split in rows.splits.values()] == [transfer.LABELLED_ROWS] * 2


def test_reading_counts_every_sentence(directory):
    done, seconds = transfer.reading(str(directory), 120)(1)[transfer.READING]
    assert done == 120 and seconds > 0


def test_memory_is_that_of_the_command_without_sentences_and_with_them(directory, monkeypatch):
    peaks = {"none": 500.0, "50": 520.0, "120": 1600.0}
    called = []

    def peak_of(words, quantity, log, store):
        options = dict(zip(words[4::2], words[5::2], strict=True))
        called.append((words[0], quantity, options["--task"]))
        file = options.get("--unlabelled-file", "-none.csv")
        return peaks[file.rpartition("-")[2].removesuffix(".csv")]

    monkeypatch.setattr(transfer, "peak_of", peak_of)
    report = transfer._memory(directory, (50, 120))
    assert [series.values for series in report.series] == [(500.0,), (520.0,), (1600.0,)]
    assert called == [("cache-teacher", RESIDENT, "sentences")] * 3
    assert [(ratio.median, ratio.holds) for ratio in report.ratios] == [
        (20.0, True),
        (1100.0, False),
        (pytest.approx(1600 / 520), None),
    ]


@pytest.mark.process
def test_peak_is_of_a_cache_with_these_sentences(directory):
    assert 100 < transfer.peak(directory, 50) < 10_000
    assert '"transfer": 50' in (directory / "cache-50.txt").read_text()


def test_transfer_without_room_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=999))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with pytest.raises(BadCache, match=r"needs 1\.0 GB, and 999 bytes are free there"):
        transfer.measure(BenchmarkConfig(name="transfer"))
    assert list(tmp_path.iterdir()) == []
