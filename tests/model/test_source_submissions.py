"""What a simulator sent to its exchange trades again, by price and time, and never crosses."""

import random
from datetime import date

import numpy as np
import pytest
import zstandard

from mtsim.engine.batch import Books
from mtsim.engine.messages import Kind
from mtsim.errors import DataError
from mtsim.model.sources.base import OWN_IDS, Options
from mtsim.model.sources.submissions import open_sessions

HEAD = "ns_after_midnight,event,order_id,size,price,side\n"
START = 34_200 * 10**9


def submissions(seed, n):
    """Rows of a log, and how many of its cancels come too late."""
    luck = random.Random(seed)
    rows, resting, ns = [], {}, START
    for order in range(1, n):
        ns += luck.randrange(0, 10**9)
        what = luck.random()
        side = luck.choice((1, -1))
        if what < 0.6 or not resting:
            price = 10_000 + 100 * (luck.randrange(-12, 3) * side)
            size = luck.randrange(1, 5) * 100
            rows.append(f"{ns},LIMIT,{1000 + order},{size},{price},{side}")
            resting[1000 + order] = (size, price, side)
        elif what < 0.8:
            gone = luck.choice(list(resting))
            size, price, side = resting.pop(gone)
            rows.append(f"{ns},CANCEL,{gone},{luck.choice((size, -400))},{price},{side}")
        elif what < 0.85:
            known = luck.choice(list(resting))
            size, price, side = resting[known]
            rows.append(f"{ns},MODIFY,{known},{size},{price},{side}")
        else:
            rows.append(f"{ns},MARKET,{order},{luck.randrange(1, 9) * 100},,{side}")
    return rows


def written(folder, text, name="INTC_2015-01-29_0930_submissions.csv.zst"):
    path = folder / name
    path.write_bytes(zstandard.compress(text.encode()) if name.endswith("zst") else text.encode())
    return str(path)


def only(file, options=None):
    (source,) = open_sessions((file,), options or Options())
    return source


def executed(source):
    feed = np.concatenate([batch.feed for batch in source.batches()])
    return feed, Books(1).process(np.ascontiguousarray(feed["message"])).results


@pytest.mark.parametrize("seed", range(5))
def test_no_book_stays_crossed_and_nothing_is_refused(tmp_path, seed):
    rows = submissions(seed, 1500)
    source = only(written(tmp_path, HEAD + "\n".join(rows) + "\n"))

    feed, results = executed(source)

    assert not results["reject"].any()
    assert np.all(results["bid_tick"] < results["ask_tick"])
    counts = source.counts
    assert counts.read == len(rows) == counts.used + counts.dropped.total()
    assert counts.dropped["cancel of an order that is not in the book"] > 0
    assert counts.dropped["change whose new size the file does not say"] == sum(
        "MODIFY" in row for row in rows
    )
    kinds = np.bincount(feed["message"]["kind"], minlength=3)
    assert kinds[Kind.LIMIT] == sum("LIMIT" in row for row in rows)
    assert kinds[Kind.MARKET] == sum("MARKET" in row for row in rows)


def test_the_name_says_symbol_and_date(tmp_path):
    session = only(written(tmp_path, HEAD + "\n".join(submissions(1, 20)) + "\n")).session

    assert (session.instrument.symbol, session.date) == ("INTC", date(2015, 1, 29))
    assert session.source == "submissions"
    assert session.timezone == "America/New_York"
    assert any("by price-time priority" in said for said in session.assumptions)


def test_market_orders_get_ids_of_their_own(tmp_path):
    text = f"{HEAD}{START},LIMIT,7,100,10000,1\n{START},MARKET,1,100,,-1\n"

    feed, results = executed(only(written(tmp_path, text)))

    assert feed["message"]["order_id"].tolist() == [7, OWN_IDS]
    assert results["filled_lots"].tolist() == [0, 100]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f"{START},LIMIT,7,100,10001,1", "price '10001' is no whole multiple of 100"),
        (f"{START},LIMIT,7,100,,1", "a new order without a price"),
        (f"{START},LIMIT,7,-100,10000,1", "a size below 0"),
        (f"{START},LIMIT,7,100,10000,0", "unknown code in side"),
        (f"{START},HALT,7,100,10000,1", "unknown code in event"),
        (f"{START - 1},LIMIT,7,100,10000,1", "the time goes back"),
        (f"{START},LIMIT,7,100,10000", "[Ee]xpected 6 columns"),
    ],
)
def test_a_wrong_row_is_refused_with_its_number(tmp_path, row, says):
    text = f"{HEAD}{START},LIMIT,6,100,10000,1\n{row}\n"

    with pytest.raises(DataError, match=f":3: .*{says}"):
        executed(only(written(tmp_path, text)))


def test_a_file_cut_short_ends_in_a_data_error(tmp_path):
    file = written(tmp_path, HEAD + "\n".join(submissions(3, 2000)) + "\n")
    path = tmp_path / "INTC_2015-01-29_0930_submissions.csv.zst"
    path.write_bytes(path.read_bytes()[:-900])

    with pytest.raises(DataError, match="INTC_2015-01-29"):
        executed(only(file))


@pytest.mark.parametrize(
    ("name", "read", "changes", "late"),
    [
        ("TSLA_2015-01-30_0930_1200_submissions.csv.zst", 112_895, 12, 0),
        ("INTC_2015-01-29_0930_0945_submissions.csv.zst", 62_813, 389, 74),
    ],
)
def test_the_real_files_never_leave_a_crossed_book(market_data, name, read, changes, late):
    source = only(str(market_data / "nasdaq_replay" / name))

    _, results = executed(source)

    assert not results["reject"].any()
    assert np.all(results["bid_tick"] < results["ask_tick"])
    counts = source.counts
    assert counts.read == read == counts.used + counts.dropped.total()
    assert counts.dropped["change whose new size the file does not say"] == changes
    assert counts.dropped["cancel of an order that is not in the book"] == late
