"""Declaration of options: defaults, checks, and what is part of an identity."""

from dataclasses import dataclass

import pytest

from pipeline.config.options import Options, check_value, command_line, default_of, option, options_in_order, value_type
from pipeline.errors import BadOption


@dataclass(frozen=True, kw_only=True)
class Version1(Options):
    depth: int = option(help="layers", low=1)
    rate: float = option(0.5, help="learning rate", above=0)
    out: str | None = option(None, help="directory", metavar="DIR", affects_result=False)


@dataclass(frozen=True, kw_only=True)
class Version2(Version1):
    noise: float = option(0.0, help="added after version 0.1", low=0, omit_default=True)
    name: str | None = option(None, help="added after version 0.1", omit_default=True)


def test_identity_of_an_earlier_version_stays_while_a_new_option_has_its_default():
    earlier = Version1(depth=2).identity_options()
    assert earlier == {"depth": 2, "rate": 0.5}
    assert Version2(depth=2).identity_options() == earlier
    assert Version2(depth=2, noise=0.0, name=None, out="x").identity_options() == earlier


def test_identity_has_a_new_option_with_another_value():
    assert Version2(depth=2, noise=0.1).identity_options() == {"depth": 2, "rate": 0.5, "noise": 0.1}
    assert Version2(depth=2, name="a").identity_options() == {"depth": 2, "rate": 0.5, "name": "a"}


def test_omit_default_needs_a_default():
    with pytest.raises(ValueError, match="omit_default needs a default"):
        option(help="x", omit_default=True)


def test_default_and_type_of_an_option():
    assert default_of(Version2, "rate") == 0.5 and default_of(Version2, "out") is None
    assert value_type(Version2, "out") is str and value_type(Version2, "depth") is int
    for name in ("depth", "nothing"):
        with pytest.raises(KeyError):
            default_of(Version2, name)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("depth", 0, "--depth must be 1 or more, not 0"),
        ("rate", 0.0, "--rate must be a number above 0, not 0.0. Try --rate 0.5"),
        ("rate", float("nan"), "--rate must be a number above 0, not nan. Try --rate 0.5"),
    ],
)
def test_value_out_of_range_is_refused_with_and_without_a_configuration(name, value, text):
    for check in (lambda: check_value(Version1, name, value), lambda: Version1(**{"depth": 1, name: value})):
        with pytest.raises(BadOption) as caught:
            check()
        assert str(caught.value) == text
    check_value(Version1, "depth", 1)


def test_command_line_has_own_options_first_and_no_defaults():
    assert [field.name for field in options_in_order(Version2)] == ["noise", "name", "depth", "rate", "out"]
    line = command_line("train", Version2(depth=3, noise=1e-6, rate=0.5))
    assert line.endswith(" train --noise 1e-06 --depth 3")
