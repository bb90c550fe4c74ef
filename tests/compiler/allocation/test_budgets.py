"""Budgets as they are given, and costs as they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.allocation.budgets import (
    BUDGETS,
    CODE,
    CONSTANTS_ALONE,
    MEANING,
    budget,
    enough,
    limit,
    made_of,
    shown,
)
from bitsmith.allocation.problem import within


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("flash=64KiB", "flash", 65536),
        ("ram=32kB", "ram", 32000),
        ("ram=1000", "ram", 1000),
        ("bops=2G", "bops", 2e9),
        ("bops=1.5 M", "bops", 1.5e6),
        ("cycles=20M", "cycles", 20e6),
        ("cycles=7", "cycles", 7),
        ("mean-weight-bits=3", "mean-weight-bits", 3),
        ("mean-activation-bits=4.5", "mean-activation-bits", 4.5),
    ],
)
def test_a_budget_is_read(text: str, name: str, value: float) -> None:
    assert budget(text) == (name, value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("flash", "'flash' is not of the form NAME=LIMIT"),
        ("flahs=1KiB", "there is no budget flahs. Did you mean flash"),
        ("flash=1KB", "flash '1KB' has no known unit. Did you mean"),
        ("flash=0", "flash must be a positive number of bytes"),
        ("flash=-1", "flash must be a positive number of bytes"),
        ("bops=2X", "bops must be a positive number such as 20M, not '2X'"),
        ("cycles=0", "cycles must be a positive number"),
        ("mean-weight-bits=17", "mean-weight-bits must be a number of bits"),
        ("mean-weight-bits=nan", "mean-weight-bits must be a number of bits"),
    ],
)
def test_what_is_no_budget_is_told(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        budget(text)


def test_limits_of_files_may_be_numbers() -> None:
    assert limit("flash", 4096) == 4096
    assert limit("mean-weight-bits", 3.5) == 3.5
    with pytest.raises(ValueError, match="flash must be a number or a text"):
        limit("flash", True)


def test_costs_are_shown_with_their_units() -> None:
    assert shown("flash", 65536) == "65,536 bytes"
    assert shown("bops", 2.5e9) == "2.5 G"
    assert shown("cycles", 12) == "12"
    assert shown("mean-weight-bits", 3.14159) == "3.14 bits"
    assert MEANING.keys() == {*BUDGETS, CODE}


@given(st.sampled_from(sorted(BUDGETS)), st.floats(1, 16) | st.floats(16, 1e12))
def test_what_is_said_to_do_does(name: str, cost: float) -> None:
    cost = min(cost, 16) if name.startswith("mean-") else cost
    text = enough(name, cost).removesuffix(" bytes").removesuffix(" LUTs").removesuffix(" bits").replace(",", "")
    _, given = budget(f"{name}={text}")
    assert within(cost, given)
    assert given <= cost + max(1, cost * 1e-3)


def test_what_does_as_it_is_shown_is_said_to() -> None:
    assert (enough("flash", 10983), enough("flash", 10983.4)) == ("10,983 bytes", "10,984 bytes")
    assert (enough("mean-weight-bits", 1.6), enough("mean-weight-bits", 1.6004)) == ("1.60 bits", "1.61 bits")
    assert (enough("bops", 7.219e6), enough("bops", 7219200)) == ("7.219 M", "7.22 M")
    assert enough("bops", 0) == "0"


def test_flash_is_told_apart_into_constants_and_code() -> None:
    assert made_of({"flash": 5000, "code": 1200, "ram": 7}) == "3,800 bytes of constants and 1,200 bytes of code"
    assert made_of({"flash": 5000}) == CONSTANTS_ALONE


def test_of_older_artifacts_flash_has_the_figure_of_the_target_in_it() -> None:
    assert made_of({"flash": 5000}, 1200) == "3,800 bytes of constants and 1,200 bytes of code"
    for told in (0, {"call": 20}, None):
        assert made_of({"flash": 5000}, told) == CONSTANTS_ALONE
    assert made_of({"flash": 5000, "code": 0}, 7) == "5,000 bytes of constants and 0 bytes of code"
