"""What each day of each symbol is for: chronological, purged, symbols held out whole."""

from datetime import date, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtsim.errors import MissingError, UsageError
from mtsim.model.split import Part, Piece, Split, load, loads
from mtsim.model.store import Key

FIRST = date(2024, 1, 1)


def days(symbol: str, n: int, first: int = 0) -> list[Key]:
    return [Key("X", symbol, FIRST + timedelta(k)) for k in range(first, first + n)]


def parts(split: Split, keys: list[Key]) -> list[Part]:
    """The one part of each day, which must be whole."""
    assigned = split.assign(keys)
    for key in keys:
        assert len(assigned[key]) == 1
        assert assigned[key][0].until == 1.0
    return [assigned[key][0].part for key in keys]


@given(
    st.dictionaries(st.sampled_from("ABC"), st.integers(3, 30), min_size=1),
    st.floats(0.1, 0.8),
    st.floats(0.05, 0.5),
)
def test_parts_follow_one_another_in_each_symbol(counts, train, validation):
    assume(train + validation < 0.95)
    text = f"fractions: {{train: {train}, validation: {validation}, test: "
    split = loads(text + f"{1 - train - validation}}}")
    for symbol, n in counts.items():
        found = parts(split, days(symbol, n))
        assert found == sorted(found)
        assert set(found) == {Part.TRAIN, Part.VALIDATION, Part.TEST}
        assert abs(found.count(Part.TRAIN) - train * n) <= 2


@given(st.integers(1, 40), st.integers(0, 4))
def test_purged_days_stand_between_parts(n, purge):
    assume(n >= 3 + 2 * purge)
    found = parts(loads(f"purge_days: {purge}"), days("A", n))
    runs = [part for k, part in enumerate(found) if k == 0 or found[k - 1] != part]
    between = [Part.NONE] if purge else []
    assert runs == [Part.TRAIN, *between, Part.VALIDATION, *between, Part.TEST]
    assert found.count(Part.NONE) == 2 * purge


def test_the_default_is_seventy_fifteen_fifteen():
    found = parts(Split(), days("A", 20))
    assert [found.count(part) for part in Part] == [14, 3, 3, 0, 0]


def test_one_day_is_divided_within():
    (pieces,) = Split().assign(days("A", 1)).values()
    assert [piece.part for piece in pieces] == [Part.TRAIN, Part.VALIDATION, Part.TEST]
    assert [piece.until for piece in pieces] == pytest.approx([0.7, 0.85, 1.0])


def test_two_days_are_divided_as_one_line_of_time():
    """Nothing that is trained on comes after anything that is scored."""
    one, two = Split().assign(days("A", 2)).values()
    assert one == (Piece(1.0, Part.TRAIN),)
    assert [piece.part for piece in two] == [Part.TRAIN, Part.VALIDATION, Part.TEST]
    assert [piece.until for piece in two] == pytest.approx([0.4, 0.7, 1.0])


def test_symbols_are_divided_each_by_its_own_days():
    keys = [*days("A", 10), *days("B", 10, first=300)]
    assert parts(Split(), keys)[:10] == parts(Split(), keys)[10:]


def test_dates_are_the_same_for_all_symbols():
    split = loads(
        "dates: {train_from: 2024-01-02, validation_from: 2024-01-04, test_from: 2024-01-05,\n"
        "        until: 2024-01-06}"
    )
    expected = [Part.NONE, Part.TRAIN, Part.TRAIN, Part.VALIDATION, Part.TEST, Part.TEST]
    assert parts(split, days("A", 7)) == [*expected, Part.NONE]
    found = split.assign([*days("A", 7), *days("B", 2, first=3)])
    assert found[Key("X", "B", date(2024, 1, 4))][0].part == Part.VALIDATION


def test_a_purge_by_dates_takes_the_days_before_a_boundary():
    split = loads("dates: {validation_from: 2024-01-04, test_from: 2024-01-06}\npurge_days: 1")
    train, val, test, none = Part.TRAIN, Part.VALIDATION, Part.TEST, Part.NONE
    assert parts(split, days("A", 7)) == [train, train, none, val, none, test, test]


@pytest.mark.parametrize("name", ["B", "X B"])
def test_a_held_out_symbol_is_held_out_on_all_its_days(name):
    keys = [*days("A", 5), *days("B", 5)]
    found = parts(loads(f'held_out: ["{name}"]'), keys)
    assert set(found[5:]) == {Part.HELD_OUT}
    assert Part.HELD_OUT not in found[:5]


def test_equal_dates_leave_a_part_out():
    split = loads("dates: {validation_from: 2024-01-03, test_from: 2024-01-03}")
    assert parts(split, days("A", 3)) == [Part.TRAIN, Part.TRAIN, Part.TEST]
    assert parts(loads("fractions: {train: 1, validation: 0, test: 0}"), days("A", 2)) == [
        Part.TRAIN,
        Part.TRAIN,
    ]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("fractoins: {train: 1}", "s.yaml:1:1: fractoins", "Did you mean 'fractions'?"),
        ("purge_days: -1", "s.yaml:1:13: purge_days", "greater than or equal to 0"),
        ("\npurge_events: many", "s.yaml:2:15: purge_events", "a whole number"),
        ("fractions: {train: 0.5}", "s.yaml:1:12: fractions", "must add up to 1, they are 0.8"),
        ("fractions: {train: 0, test: 0.85}", "s.yaml:1:12", "train must be above 0"),
        ("fractions: {train: 1.7}", "s.yaml:1:20: fractions.train", "less than or equal to 1"),
        ("dates: {validation_from: soon, test_from: 2024-01-02}", "s.yaml:1:26", "2024-01-31"),
        ("dates: {validation_from: 2024-01-02}", "s.yaml:1:1: dates", "'test_from' is missing"),
        (
            "dates: {validation_from: 2024-01-03, test_from: 2024-01-02}",
            "s.yaml:1:8: dates",
            "must follow one another",
        ),
        (
            "dates: {validation_from: 2024-01-02, test_from: 2024-01-03}\nfractions: {}",
            "s.yaml:1:1",
            "either dates or fractions",
        ),
        ("held_out: A", "s.yaml:1:11: held_out", "a list"),
        ("purge_days: 1\npurge_days: 2", "s.yaml:2:1: purge_days", "given twice"),
        ("- 1", "s.yaml:1:1", "a split has keys and values"),
        ("a: [", "s.yaml:1", "not valid YAML"),
        ("", "s.yaml:1:1", "the file is empty"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_rule(tmp_path, text, where, said):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        load(path)
    message = str(raised.value)
    assert f"{tmp_path}/{where}" in message
    assert said in message
    assert "scenario" not in message


def test_all_mistakes_are_said_at_once():
    with pytest.raises(UsageError) as raised:
        loads("purge_days: -1\nheld: []\npurge_events: x")
    assert [f"<text>:{line}:" in str(raised.value) for line in (1, 2, 3)] == [True] * 3


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("held_out: [A, C]", "<text>:1:15: held_out[1]: no session is of a symbol 'C'"),
        ("held_out: [A, B]", "<text>:1:11: held_out: no day is left for train"),
        ("purge_days: 2", "<text>:1:13: purge_days: X A has 5 days; 3 parts with 2 days between"),
        (
            "dates: {validation_from: 2024-01-03, test_from: 2024-02-03}",
            "<text>:1:8: dates: no day is left for test",
        ),
        (
            "dates: {validation_from: 2023-01-03, test_from: 2024-01-03}",
            "<text>:1:8: dates: no day is left for train",
        ),
    ],
)
def test_what_does_not_fit_the_store_is_said_where_it_was_written(text, said):
    with pytest.raises(UsageError) as raised:
        loads(text).assign([*days("A", 5), *days("B", 5)])
    assert said in str(raised.value)


def test_the_rules_are_told_with_their_defaults():
    assert Split().as_json() == {
        "fractions": {"train": 0.7, "validation": 0.15, "test": 0.15},
        "purge_days": 0,
        "purge_events": 1000,
        "held_out": [],
    }
    said = loads("dates: {validation_from: 2024-01-02, test_from: 2024-01-03}").as_json()
    assert said["dates"]["test_from"] == "2024-01-03"
    assert "fractions" not in said
