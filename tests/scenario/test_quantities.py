"""Units are part of a value: what parses, what it means, and that it is written back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from mtsim.scenario.quantities import (
    Distribution,
    Ns,
    Random,
    When,
    draw,
    format_clock,
    format_duration,
    parse_clock_ns,
    parse_duration_ns,
    parse_when,
)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("600s", 600 * 10**9),
        ("200us", 200_000),
        ("200µs", 200_000),
        ("1.5min", 90 * 10**9),
        ("0.1 s", 10**8),
        ("1h", 3600 * 10**9),
        ("0ns", 0),
        ("0.000000001s", 1),
    ],
)
def test_a_duration_is_an_exact_number_of_nanoseconds(text, time_ns):
    assert parse_duration_ns(text) == time_ns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (60, "a duration needs a unit"),
        (60.0, "a duration needs a unit"),
        ("60", "must be a duration"),
        ("60 parsec", "unknown unit 'parsec'"),
        ("60m", "unknown unit 'm'"),
        ("-1s", "must be a duration"),
        ("1.5ns", "whole number of nanoseconds"),
        ("9999999h", "at most 2\\^62"),
        ("s", "must be a duration"),
        ("", "must be a duration"),
        (True, "must be a duration"),
        (None, "must be a duration"),
    ],
)
def test_what_is_no_duration_is_refused(text, message):
    with pytest.raises(PydanticCustomError, match=message):
        parse_duration_ns(text)


@given(st.integers(0, 2**62))
def test_a_duration_is_written_back_the_same(time_ns):
    assert parse_duration_ns(format_duration(time_ns)) == time_ns


@given(st.integers(0, 24 * 3600 - 1))
def test_a_time_of_day_is_written_back_the_same(seconds):
    assert parse_clock_ns(format_clock(seconds * 10**9)) == seconds * 10**9


@pytest.mark.parametrize("text", ["24:00", "09:60", "9:30", "093000", 34200, None])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(PydanticCustomError, match="must be a time of day"):
        parse_clock_ns(text)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("600s", When("time", 600 * 10**9)),
        ("5000ev", When("events", 5000)),
        ("spread>4t", When("condition", 4, "spread", ">")),
        ("bid_depth < 50l", When("condition", 50, "bid_depth", "<")),
    ],
)
def test_a_moment_is_a_time_a_count_or_a_condition(text, when):
    assert parse_when(text) == when
    assert parse_when(str(when)) == when


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "must be a time"),
        (5000, "must be a time"),
        ("-5ev", "must be a time"),
        ("spred>4t", "unknown quantity 'spred'"),
        ("spread>4l", "as in spread>4t"),
        ("spread>4.5t", "whole number"),
        ("spread=4t", "must be a time"),
        ("5fortnights", "unknown unit 'fortnights'"),
    ],
)
def test_what_is_no_moment_is_refused(text, message):
    with pytest.raises(PydanticCustomError, match=message):
        parse_when(text)


@given(low=st.integers(-100, 100), width=st.integers(0, 50), unit=st.floats(0, 1, exclude_max=True))
def test_a_uniform_integer_stays_between_its_ends(low, width, unit):
    value = draw(Random("uniform", (low, low + width), "x"), "int", unit)
    assert low <= value <= low + width


def test_every_end_of_an_integer_interval_is_equally_likely():
    grid = [(k + 0.5) / 3000 for k in range(3000)]
    drawn = [draw(Random("uniform", (1, 3), "x"), "int", unit) for unit in grid]
    assert [drawn.count(value) for value in (1, 2, 3)] == [1000, 1000, 1000]


def test_the_middle_of_a_lognormal_is_its_median():
    assert draw(Random("lognormal", (20.0, 0.5), "x"), "float", 0.5) == pytest.approx(20.0)
    assert Distribution("lognormal", (20.0, 0.5)).quantile(0.5) == pytest.approx(20.0)


def test_a_duration_is_drawn_between_durations():
    value = draw(Random("uniform", ("10s", "20s"), "x"), "duration", 0.5)
    assert isinstance(value, Ns)
    assert 10 * 10**9 <= value <= 20 * 10**9


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        ("uniform", (2, 1), "low end of uniform is above"),
        ("uniform", (1,), "takes two numbers"),
        ("uniform", (1.5, 3), "whole number"),
        ("uniform", (True, 3), "made of numbers"),
        ("uniform", (float("nan"), 3), "made of numbers"),
        ("lognormal", (0, 1), "median above 0"),
        ("lognormal", (1, -1), "sigma of at least 0"),
        ("choice", (), "at least one value"),
    ],
)
def test_a_wrong_distribution_is_refused(kind, args, message):
    with pytest.raises(PydanticCustomError, match=message):
        draw(Random(kind, args, "x"), "int", 0.5)
