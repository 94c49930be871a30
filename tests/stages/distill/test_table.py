from stages.distill.table import Row, setting_text, table


def row(model, score, test_score, taken, parameters=22_700_000):
    values = dict(setting="T 5, lr 5e-05", layers=6, parameters=parameters, out="runs/x")
    return Row(model=model, score=score, test_score=test_score, latency_ms=taken, **values)


def test_table_compares_with_the_teacher():
    rows = [row("teacher", 0.82, None, 10.0), row("KD", 0.8, None, 4.0), row("a|b", None, None, None)]
    assert table(rows, "accuracy", "here") == (
        "| model | setting | layers | accuracy on dev | parameters | ms per example | speed |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| teacher | T 5, lr 5e-05 | 6 | 0.8200 | 22.7 M | 10.0 | 1.0 × |\n"
        "| KD | T 5, lr 5e-05 | 6 | 0.8000 | 22.7 M | 4.0 | 2.5 × |\n"
        "| a\\|b | T 5, lr 5e-05 | 6 | – | 22.7 M | – | – |\n"
        "\n"
        "Milliseconds: here. Speed: against the teacher."
    )


def test_table_has_test_scores_where_they_were_measured():
    lines = table([row("teacher", 0.82, 0.81, 10.0), row("KD", 0.8, None, 4.0)], "f1:a", "here").splitlines()
    assert lines[0].startswith("| model | setting | layers | f1:a on dev | f1:a on test |")
    assert [line.count("|") for line in lines[:4]] == [9] * 4
    assert "| 0.8200 | 0.8100 |" in lines[2] and "| 0.8000 | – |" in lines[3]


def test_setting_names_what_has_a_meaning():
    values = {"method": "kd", "temperature": 5.0, "alpha": 0.7, "beta": None, "lr": 5e-5, "epochs": 4.0}
    assert setting_text(values) == "T 5, alpha 0.7, lr 5e-05"
