from pipeline.system.formatting import printable, spans, table


def test_numbers_stand_right_and_words_left():
    assert table(("split", "rows"), [("train", 300), ("dev", 9)]) == "split  rows\ntrain   300\ndev       9"
    assert table(("a", "b"), []) == "a  b"


def test_nothing_that_a_terminal_obeys_is_printed():
    assert printable("a\x1b[31m\nb\ud800") == "a�[31m�b�"
    assert "\x1b" not in table(("task",), [("\x1b[2J",)])


def test_spans():
    assert spans([1, 2, 3, 4]) == "1–4"
    assert spans([2, 4, 6]) == "2, 4, 6"
    assert spans([1, 2, 5]) == "1, 2, 5"
    assert spans([]) == "none"
