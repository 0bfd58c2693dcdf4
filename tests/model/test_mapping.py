"""A mapping that is wrong is refused where it is wrong; the right one is found."""

import pytest

from mtsim.errors import UsageError
from mtsim.model.sources import mapping
from mtsim.model.sources.base import Options
from mtsim.model.sources.mapped import open_sessions
from tests.model.mapped_files import (
    PLAIN,
    SAID,
    feed_of,
    table,
    text_of,
    told,
    written,
)
from tests.model.venue import SELL, Venue


@pytest.mark.parametrize(
    ("was", "now", "place", "says"),
    [
        ("column: t,", "colu: t,", "2:1: time", "the key 'column' is missing"),
        ("column: t,", "colu: t,", "2:8: time.colu", "Did you mean 'column'?"),
        ("midnight_ns", "midnite_ns", "2:27: time.format", "Did you mean 'midnight_ns'?"),
        ("America/New_York", "America/Gotham", "2:46: time.zone", "unknown time zone"),
        ("tick: 0.01", "tick: -1", "3:30: price.tick", "must be above 0"),
        ("tick: 0.01", "tick: [1]", "3:30: price.tick", "must be a number"),
        ("fill: FILL", "fill: ADD", "7:9: action", "'ADD' is given for add and fill"),
        ("fill: FILL", "fill: {a: b}", "7:90: action.fill", "must be a code"),
        ("replace: {old_id: other}", "", "2:1", "the action replace needs"),
        ("id: {column: id}", "id: id", "5:5: id", "must be a mapping of keys to values"),
        ("id: {column: id}", "id: {column: 5}", "5:14: id.column", "must be text"),
        ("id: {column: id}", "id: [", "7:1", "not valid YAML"),
        ("time:", "sessions: {}\ntime:", "2:1: sessions", "Did you mean 'session'?"),
    ],
)
def test_a_wrong_mapping_is_refused_where_it_is_wrong(was, now, place, says):
    assert was in PLAIN
    with pytest.raises(UsageError) as refused:
        mapping.loads(PLAIN.replace(was, now), "my.yaml")
    assert f"my.yaml:{place}" in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("fill: {names: both}", "needs the columns maker and taker, or buy, sell, aggressor"),
        ("fill: {names: maker, taker: x}", "with names: maker"),
        ("fill: {names: both, maker: a, taker: b, buy: c}", "either maker and taker, or"),
        ('session: {from: "10:00", to: "09:00"}', "must follow one another"),
        ("session: {from: 9}", "must be a time of day"),
        ('session: {to: "24:30"}', "must be at most 24:00"),
        ("book: {levels: 1, bid_price: a}", "must have {n}"),
        ("modify: {gives: some}", "must be one of remaining, delta, before, got 'some'"),
        ("time: {column: u, format: iso}", "the key 'time' is given twice"),
        ("drop: [{column: a, is: b}]", "the key 'because' is missing"),
    ],
)
def test_parts_that_do_not_fit_are_refused(more, says):
    with pytest.raises(UsageError, match=r"my\.yaml:") as refused:
        mapping.loads(PLAIN + more, "my.yaml")
    assert says in str(refused.value)


def test_every_problem_is_said_at_once():
    with pytest.raises(UsageError) as refused:
        mapping.loads("time: {colu: t}\nprise: 3\n", "my.yaml")
    text = str(refused.value)
    assert text.count("my.yaml:") >= 8
    for words in ("'column' is missing", "'action' is missing", "unknown key 'prise'"):
        assert words in text


def test_shipped_mappings_are_found_by_name_and_by_the_columns_of_the_file(tmp_path):
    assert set(mapping.shipped()) >= {"sse", "scs", "nasdaq_csv", "submissions"}
    head = "epoch_ns,order_id,symbol,side,action,price,qty\n"
    file = written(tmp_path, head + "1609722840027798182,7374421476721608526,SCS,SELL,NEW,2.5,1\n")
    for files in ((file,), ("scs", file)):
        (source,) = open_sessions(files, Options())
        assert source.session.instrument.symbol == "SCS"
        assert told(feed_of(source)) == [("LIMIT", SELL, "GTC", 250, 1, 1, "OBSERVED")]


def test_the_mapping_is_the_yaml_among_the_files(tmp_path):
    file = written(tmp_path, text_of(table(Venue().play(5, 20))))
    mine = written(tmp_path, PLAIN, "mine.yaml")
    (source,) = open_sessions((mine, file), SAID)
    assert len(feed_of(source)) > 0
    with pytest.raises(UsageError, match=r"none of the layouts .* mtsim data map"):
        list(open_sessions((file,), SAID))
    with pytest.raises(UsageError, match="one mapping is needed"):
        list(open_sessions((mine, "scs", file), SAID))
    with pytest.raises(UsageError, match="no data file"):
        list(open_sessions((mine,), SAID))
