"""The presets, and what may be asked of their bins."""

import pytest

from mtsim.errors import UsageError
from mtsim.model.bins import Spacing
from mtsim.model.schemas import PRESETS, bins_from_text, schema_named


def test_bins_can_be_asked_for_as_text_and_leave_the_preset_as_it_was():
    before = PRESETS["book"].lines["gap"]

    schema = schema_named("book", bins_from_text(" lots=20 , gap=log:24 "))

    assert schema.lines["lots"].n == 20
    assert (schema.lines["gap"].n, schema.lines["gap"].spacing) == (24, Spacing.LOG)
    assert schema.lines["gap"].exact == before.exact
    assert schema.lines["add"] == PRESETS["book"].lines["add"]
    assert PRESETS["book"].lines["gap"] == before
    assert bins_from_text("") == {}


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ({"size": 3}, "no bins are called 'size'. Known: add, cancel, lots, gap"),
        ({"lots": "many"}, "bins of lots: 'many' bins; a whole number from 2 to 1024"),
        ({"lots": 1}, "bins of lots: '1' bins"),
        ({"lots": 1025}, "bins of lots: '1025' bins"),
        ({"lots": "²"}, "bins of lots: '²' bins"),
        ({"gap": "linear:4"}, "bins of gap: spacing 'linear'. Known: quantile, log"),
        ({"gap": ":4"}, "bins of gap: spacing ''"),
    ],
)
def test_bins_that_cannot_be_are_refused_with_the_rule(bins, message):
    with pytest.raises(UsageError) as caught:
        schema_named("book", bins)

    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["lots", "lots=", "=4", "lots=4,gap"])
def test_text_that_asks_for_no_bins_is_refused(text):
    with pytest.raises(UsageError, match="NAME=COUNT"):
        bins_from_text(text)


def test_asking_twice_is_refused():
    with pytest.raises(UsageError, match="'lots' is asked for twice"):
        bins_from_text("lots=4,lots=5")


def test_an_unknown_schema_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="Known: book, tradefm, trades, trades-579"):
        schema_named("books")
