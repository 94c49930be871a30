"""Spaces: what they hold, which settings they give, and what is refused before anything runs."""

import pytest

from pipeline.errors import BadOption
from stages.sweep.search.space import Range, read_space


def space(tmp_path, text, cache="data/toy"):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return read_space(str(path), cache)


def test_the_grid_of_the_paper():
    settings = list(read_space("paper", "data/mnli").settings())
    assert len(settings) == 108 and all(setting["cache"] == "data/mnli" for setting in settings)
    assert settings[0] == {"cache": "data/mnli", "temperature": 5.0, "alpha": 0.2, "lr": 5e-5, "beta": 10.0}
    assert {setting["beta"] for setting in settings} == {10.0, 100.0, 500.0, 1000.0}


def test_constants_lists_and_ranges(tmp_path):
    found = space(
        tmp_path,
        'epochs = 3\nmethod = ["pkd-skip", "kd", "kd"]\nlr = {low = 1e-5, high = 1e-4, log = true}\nseed = [1]\n'
        "student_layers = {low = 1, high = 3}",
    )
    assert found.constants == {"cache": "data/toy", "epochs": 3.0, "seed": 1}
    assert found.choices == {"method": ("pkd-skip", "kd")}
    assert found.ranges == {"lr": Range(1e-5, 1e-4, True), "student_layers": Range(1, 3, integer=True)}


def test_several_caches(tmp_path):
    found = space(tmp_path, 'cache = ["data/a", "data/b"]', None)
    assert [setting["cache"] for setting in found.settings()] == ["data/a", "data/b"]
    blocks = '\ufeff[[either]]\ncache = "data/a"\n[[either]]\ncache = "data/b"\nlr = 1e-5\n'
    assert [setting["cache"] for setting in space(tmp_path, blocks, None).settings()] == ["data/a", "data/b"]
    with pytest.raises(BadOption, match="names caches of its own"):
        space(tmp_path, blocks)


def test_alternatives(tmp_path):
    found = space(
        tmp_path,
        'seed = [0, 1]\nepochs = 2\n[[either]]\nmethod = "ft"\n[[either]]\nmethod = "kd"\ntemperature = [5, 10]\n',
    )
    common = {"cache": "data/toy", "epochs": 2.0}
    assert list(found.settings()) == [
        common | {"seed": seed} | own
        for seed in (0, 1)
        for own in ({"method": "ft"}, *({"method": "kd", "temperature": t} for t in (5.0, 10.0)))
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "tempreature = 5",
            "tempreature is not an option of train-student. Options that can be searched: epochs, max_steps",
        ),
        ('out = "runs/x"', "out is not searched. Options that can be searched: epochs, max_steps"),
        ("alpha = [0.5, 2]", "--alpha must be a number from 0 to 1, not 2.0. Try --alpha 0.5"),
        ("temperature = 0", "--temperature must be a number above 0, not 0.0. Try --temperature 5.0"),
        (
            'method = ["pkd"]',
            "--method must be one of ft, pseudo, kd, pkd-skip, pkd-last, not pkd. Try --method pkd-skip",
        ),
        ('lr = "5e-5"', "lr takes a number, not '5e-5'"),
        ("seed = 1.5", "seed takes a whole number, not 1.5"),
        ("seed = true", "seed takes a whole number, not True"),
        ("method = 5", "method takes text in quotes, not 5"),
        ("beta = []", "beta has an empty list. Name a value, or leave the line out"),
        ("lr = {low = 1e-4, high = 1e-5}", "the range of lr must rise"),
        ("beta = {low = 0, high = 10, log = true}", "the range of beta must rise, from above 0 where log = true"),
        ("beta = {low = 0, to = 10}", "beta = {'low': 0, 'to': 10} is not a range. Write beta = {low = 1e-5, high = "),
        ("student_layers = {low = 1, high = inf}", "student_layers = {'low': 1, 'high': inf} is not a range"),
        ("student_layers = {low = 1, high = 2.9}", "student_layers = {'low': 1, 'high': 2.9} is not a range"),
        ("lr = {low = 1e-5, high = inf}", "lr = {'low': 1e-05, 'high': inf} is not a range"),
        ("method = {low = 1, high = 2}", "method = {'low': 1, 'high': 2} is not a range. Write method = {low = 1e-5"),
        ('cache = "data/b"', "names caches of its own. Leave out --cache, or the line in the file"),
        ("either = 5", "write each alternative under a line [[either]] of its own"),
        ("lr = 1e-5\n[[either]]\nlr = 2e-5", "lr is set under [[either]] and before it too. Leave one of them out"),
        ("[[either]]\nlr = {low = 1e-5, high = 1e-4}", "the range of lr is under [[either]]. Write it before that"),
        ("[[either]]\nout = 'x'", "out is not searched"),
        ("lr = ", "cannot be read (Invalid value (at end of document))"),
    ],
)
def test_invalid_space_is_refused(tmp_path, text, error):
    with pytest.raises(BadOption) as caught:
        space(tmp_path, text)
    assert error in str(caught.value) and "space.toml" in str(caught.value)


def test_missing_file_and_missing_cache_are_refused(tmp_path):
    with pytest.raises(BadOption, match=r"^--space papre is not a file. Use --space paper, or name a TOML file$"):
        read_space("papre", "data/toy")
    with pytest.raises(BadOption, match=r"^no cache to train from: give --cache DIR$"):
        read_space("paper", None)
    (tmp_path / "space.toml").mkdir()
    with pytest.raises(BadOption, match=r"cannot be read \(.*Is a directory"):
        read_space(str(tmp_path / "space.toml"), "data/toy")


def test_space_of_too_many_settings_is_refused(tmp_path):
    many = f"seed = {list(range(1000))}\ndata_seed = {list(range(101))}"
    with pytest.raises(BadOption, match=r"^the space has 101,000 settings. Use --strategy bayes, or lists of fewer"):
        list(space(tmp_path, many).settings())
