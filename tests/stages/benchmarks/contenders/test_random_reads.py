"""Order of batches, and turns that count the rows that they read."""

import numpy as np

from stages.benchmarks.contenders import random_reads

ROWS = 700
LENGTHS = np.random.default_rng(0).integers(3, 30, ROWS)


def test_batches_hold_every_row_once_and_differ_by_epoch():
    first, second = (random_reads.batches_of(ROWS, LENGTHS, epoch) for epoch in (0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(ROWS))
    assert all((np.diff(ids) > 0).all() for ids in first)
    assert [ids.tolist() for ids in first] != [ids.tolist() for ids in second]


def test_turn_counts_the_rows_that_it_read():
    read = []
    run = random_reads.repeated("rows", lambda ids: read.append(ids.tolist()) or {}, [np.arange(3), np.arange(3, 5)])
    assert run(3)["rows"][0] == 8 and run(1)["rows"][0] == 2
    assert read == [[0, 1, 2], [3, 4], [0, 1, 2], [3, 4]]


def test_unit_of_work_is_several_batches():
    assert random_reads.repeated("rows", lambda ids: {}, [np.arange(3)], unit=4)(2)["rows"][0] == 24


def test_memory_copy_counts_every_byte():
    amount, seconds = random_reads.memory_copy()(2)[random_reads.COPY]
    assert amount == 2 * random_reads.COPY_BYTES and seconds > 0
