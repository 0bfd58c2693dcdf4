"""The checks at the door: a clean feed passes them all, and each finds the defect it is for."""

from dataclasses import replace

import numpy as np
import pytest

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.errors import DataError
from mtsim.model.check_rules import RULES, refusal
from mtsim.model.execution import Execution
from mtsim.model.ingest import import_session
from mtsim.model.sources.base import OWN_IDS, Truth, in_file, place
from mtsim.model.store import Store
from tests.model.generated_feed import made_up, made_up_feed

N = 6000


@pytest.fixture(scope="module")
def clean():
    """One made-up feed, which no test changes."""
    return made_up_feed(3, N)


@pytest.fixture
def verdicts(tmp_path, clean):
    """The verdicts, by check, on that feed with a defect planted."""

    def judge(change=None, **session):
        feed, truth = clean[0].copy(), Truth(*(array.copy() for array in clean[1]))
        source = made_up(tmp_path / "made-up.txt", n=1, **session)
        changed = (feed, truth) if change is None else change(feed, truth)
        source = replace(source, feed=changed[0], truth=changed[1])
        execution = Execution(source.session, all_snapshots=True)
        for _ in execution.run(source):
            pass
        return {verdict.check: verdict for verdict in execution.checks.verdicts()}

    return judge


def broken(verdicts, level="error"):
    return {name for name, verdict in verdicts.items() if verdict.level == level}


def test_a_clean_feed_passes_every_check(verdicts):
    found = verdicts()
    assert broken(found) == broken(found, "warning") == set()
    judged = {name for name, verdict in found.items() if verdict.level == "ok"}
    # Too short for five blocks of thousands of messages.
    assert set(found) - judged == {"spread-steady"}


def test_every_rule_is_judged_and_says_its_law(verdicts):
    found = verdicts()
    assert list(found) == list(RULES)
    assert all(RULES[name].law for name in found)


# The three published bugs -------------------------------------------------------------------------


def test_snapshots_with_bids_and_asks_exchanged_are_found(verdicts):
    def swap(feed, truth):
        return feed, truth._replace(tick=truth.tick[:, ::-1], lots=truth.lots[:, ::-1])

    found = verdicts(swap)
    assert {"snapshot-sides", "snapshot-order", "touch-agreement"} <= broken(found)
    assert found["snapshot-sides"].offences == N
    assert found["snapshot-sides"].row == 81


def test_deltas_taken_for_snapshots_are_found(verdicts):
    def deltas(feed, truth):
        """Of each snapshot only the levels that changed since the one before, best first."""
        tick, lots = np.zeros_like(truth.tick), np.zeros_like(truth.lots)
        for k in range(1, len(truth.after)):
            for side in (0, 1):
                before = dict(zip(truth.tick[k - 1, side], truth.lots[k - 1, side], strict=True))
                now = zip(truth.tick[k, side], truth.lots[k, side], strict=True)
                new = [(t, n) for t, n in now if n and before.get(t) != n] or [
                    (truth.tick[k, side, 5], truth.lots[k, side, 5])
                ]
                for level, (t, n) in enumerate(new):
                    tick[k, side, level], lots[k, side, level] = t, n
        return feed, truth._replace(tick=tick, lots=lots)

    found = verdicts(deltas)
    assert {"snapshot-levels", "depth-indexing", "book-agreement"} <= broken(found)
    assert "bid and" in found["snapshot-levels"].found


def test_deltas_taken_for_snapshots_are_found_where_levels_are_all_there_is(verdicts):
    """Without orders the book is made of the same deltas: the number of levels tells."""

    def cut(feed, truth):
        tick, lots = truth.tick.copy(), truth.lots.copy()
        lots[::3, :, 2:] = 0
        return feed, truth._replace(tick=tick, lots=lots)

    found = verdicts(cut, by_order=False)
    assert "snapshot-levels" in broken(found)
    assert "levels-constant" in broken(found, "warning")


def test_levels_read_one_too_deep_are_found(verdicts):
    def shift(feed, truth):
        tick, lots = np.roll(truth.tick, -1, axis=2), np.roll(truth.lots, -1, axis=2)
        lots[:, :, -1] = 0
        return feed, truth._replace(tick=tick, lots=lots)

    found = verdicts(shift)
    assert {"depth-indexing", "touch-agreement", "book-agreement"} <= broken(found)
    assert found["depth-indexing"].offences == N
    assert "level 0 has" in found["depth-indexing"].found


# One defect after the other -----------------------------------------------------------------------


def test_levels_out_of_order_are_found_with_the_row(verdicts):
    def exchange(feed, truth):
        truth.tick[7, 1, [2, 3]] = truth.tick[7, 1, [3, 2]]
        return feed, truth

    found = verdicts(exchange)
    assert broken(found) == {"snapshot-order"}
    assert (found["snapshot-order"].offences, found["snapshot-order"].row) == (1, 88)
    assert found["snapshot-order"].found.startswith("ask level 2 at ")


def test_two_levels_of_one_price_are_found(verdicts):
    def double(feed, truth):
        truth.tick[9, 0, 1] = truth.tick[9, 0, 0]
        return feed, truth

    assert broken(verdicts(double)) == {"snapshot-order"}


def test_a_hole_in_a_snapshot_is_found(verdicts):
    def hole(feed, truth):
        truth.lots[9, 0, 1] = 0
        return feed, truth

    assert broken(verdicts(hole)) == {"snapshot-order"}


def test_negative_lots_are_found(verdicts):
    def negate(feed, truth):
        truth.lots[9, 0, 9] = -5
        return feed, truth

    found = verdicts(negate)
    assert "snapshot-sizes" in broken(found)
    assert found["snapshot-sizes"].found == "-5 lots"


def test_a_book_that_drifts_from_the_snapshots_is_found_where_it_begins(verdicts):
    """One percent of the messages missing, every snapshot still there."""

    def lose(feed, truth):
        lost = np.zeros(len(feed), bool)
        lost[200::100] = True
        gone = np.cumsum(lost)
        return feed[~lost], truth._replace(after=truth.after - gone[truth.after - 1])

    found = verdicts(lose)
    assert "book-agreement" in broken(found)
    assert 200 < found["book-agreement"].row < 400


def test_one_wrong_level_is_a_warning(verdicts):
    def touch_up(feed, truth):
        truth.lots[100, 0, 4] += 1
        return feed, truth

    found = verdicts(touch_up)
    assert broken(found) == set()
    assert broken(found, "warning") == {"book-agreement"}
    assert "bid level 4" in found["book-agreement"].found


def test_snapshots_of_another_spread_than_the_book_are_found(verdicts):
    def widen(feed, truth):
        truth.tick[:, 0] -= 500
        truth.tick[:, 1] += 500
        return feed, truth

    assert "spread-sanity" in broken(verdicts(widen))


def test_a_quoted_spread_far_above_that_of_prints_is_found(verdicts):
    """Prints bounce over two ticks in a book whose quotes lie hundreds apart."""

    def thin(feed, truth):
        message = feed["message"]
        takes = message["tif"] == TimeInForce.IOC
        message["price_tick"][takes] = np.where(message["side"][takes] == 0, 10_001, 9_999)
        opens = feed["origin"] == Origin.OPENING
        message["price_tick"][opens] += np.where(message["side"][opens] == 0, -300, 300)
        return feed[opens | takes], None

    found = verdicts(thin, truth_levels=0)
    assert "spread-sanity" in broken(found)
    assert "between prints of opposite sides" in found["spread-sanity"].found


def test_a_sudden_spread_is_a_warning(tmp_path):
    """Six blocks of messages far from the touch, then the best asks are bought, then two more."""
    opening, _ = made_up_feed(1, 0)
    quotes = np.zeros(8 * 4096, opening.dtype)
    quotes["time_ns"] = np.arange(len(quotes)) * 10**7
    quotes["row"] = np.arange(len(quotes)) + 81
    quotes["message"]["order_id"] = np.repeat(np.arange(len(quotes) // 2), 2) + 1
    quotes["message"]["kind"][1::2] = Kind.CANCEL
    quotes["message"]["side"] = 1
    quotes["message"]["price_tick"] = 20_000
    quotes["message"]["lots"] = 1
    sweep = quotes[6 * 4096 : 6 * 4096 + 1].copy()
    sweep["message"] = (0, 0, TimeInForce.IOC, 0, 0, 0, 10_019, 5510, 0, OWN_IDS + 5000)
    feed = np.concatenate([opening, quotes[: 6 * 4096], sweep, quotes[6 * 4096 :]])
    source = made_up(tmp_path / "f", n=1, truth_levels=0)
    execution = Execution(source.session)
    for _ in execution.run(replace(source, feed=feed, truth=None)):
        pass
    found = {verdict.check: verdict for verdict in execution.checks.verdicts()}
    assert broken(found) == set()
    assert broken(found, "warning") == {"spread-steady"}
    row = found["spread-steady"].row
    assert row is not None
    assert row > 6 * 4096


@pytest.mark.parametrize(("side", "check"), [(0, "buys-above-mid"), (1, "sells-below-mid")])
def test_aggressors_on_the_wrong_side_are_found(verdicts, side, check):
    """The side column of trades read the wrong way round."""

    def turn(feed, truth):
        takes = (feed["message"]["tif"] == TimeInForce.IOC) & (feed["message"]["side"] == 1 - side)
        feed["message"]["side"][takes] = side
        return feed, truth

    found = verdicts(turn)
    assert {check, "conservation"} <= broken(found)


def test_prints_beyond_the_touch_are_found(verdicts):
    """Trades of another instrument, or at prices of another scale."""

    def move(feed, truth):
        takes = (feed["message"]["tif"] == TimeInForce.IOC) & (feed["message"]["side"] == 0)
        feed["message"]["price_tick"][takes] -= 200
        return feed, truth

    assert {"prints-inside", "buys-above-mid"} <= broken(verdicts(move))


def test_sides_of_adds_exchanged_are_found(verdicts):
    def turn(feed, truth):
        adds = (feed["message"]["kind"] == Kind.LIMIT) & (feed["origin"] == Origin.OBSERVED)
        feed["message"]["side"][adds] ^= 1
        return feed, None

    assert "adds-rest" in broken(verdicts(turn, truth_levels=0))


def test_an_order_that_is_added_twice_is_found(verdicts):
    def double(feed, truth):
        adds = np.flatnonzero(
            (feed["message"]["kind"] == Kind.LIMIT)
            & (feed["message"]["tif"] == TimeInForce.GTC)
            & (feed["origin"] == Origin.OBSERVED)
        )
        feed = np.insert(feed, adds[3] + 1, feed[adds[3]])
        return feed, None

    found = verdicts(double, truth_levels=0)
    assert broken(found) == {"duplicates"}
    assert found["duplicates"].offences == 1


def test_cancels_of_orders_that_are_not_there_are_found(verdicts):
    def rename(feed, truth):
        cancels = feed["message"]["kind"] == Kind.CANCEL
        feed["message"]["order_id"][cancels] += 10**9
        return feed, None

    found = verdicts(rename, truth_levels=0)
    assert "rejects" in broken(found)
    assert "UNKNOWN_ORDER" in found["rejects"].found


def test_aggressors_who_find_nobody_are_found(verdicts):
    """Σ fills < Σ lots of aggressors: makers are missing from the feed."""

    def grow(feed, truth):
        takes = feed["message"]["tif"] == TimeInForce.IOC
        feed["message"]["lots"][takes] += 100_000
        return feed, None

    found = verdicts(grow, truth_levels=0)
    assert "conservation" in broken(found)
    assert found["conservation"].row is not None


def test_a_feed_of_nothing_but_trades_is_not_held_to_conservation(verdicts):
    def trades(feed, truth):
        return feed[feed["message"]["tif"] == TimeInForce.IOC], None

    found = verdicts(trades, truth_levels=0)
    assert broken(found) == set()
    assert found["conservation"].level == "none"


def test_lots_that_appear_from_nowhere_are_found(tmp_path, monkeypatch):
    """The engine's own books are not taken on trust, either."""
    source = made_up(tmp_path / "f", n=50, truth_levels=0)
    execution = Execution(source.session)
    total_lots = execution.books.total_lots
    monkeypatch.setattr(
        execution.books, "total_lots", lambda book, side: total_lots(book, side) + side
    )
    for _ in execution.run(source):
        pass
    found = {verdict.check: verdict for verdict in execution.checks.verdicts()}
    assert broken(found) == {"depth-conservation"}


def test_time_that_goes_back_is_found(verdicts):
    def back(feed, truth):
        feed["time_ns"][500] -= 10**12
        feed["time_ns"][500] = max(0, feed["time_ns"][500])
        return feed, truth

    found = verdicts(back)
    assert "time-order" in broken(found)
    assert found["time-order"].row == 501


def test_times_in_too_large_a_unit_are_found(verdicts):
    """Nanoseconds read as microseconds: a session of a hundred thousand seconds."""

    def stretch(feed, truth):
        feed["time_ns"] *= 1000
        return feed, truth

    found = verdicts(stretch)
    assert "time-of-day" in broken(found)
    assert "hours after midnight" in found["time-of-day"].found


def test_times_in_too_small_a_unit_are_found(verdicts):
    """Milliseconds read as nanoseconds: thousands of messages within a blink."""

    def shrink(feed, truth):
        feed["time_ns"] //= 10**6
        return feed, truth

    assert broken(verdicts(shrink)) == {"time-density"}


def test_a_gap_is_a_warning_with_its_row(verdicts):
    def gap(feed, truth):
        feed["origin"][1000:1010] = Origin.OPENING
        return feed, truth

    found = verdicts(gap)
    assert broken(found) == set()
    assert broken(found, "warning") == {"gaps"}
    assert (found["gaps"].offences, found["gaps"].row) == (1, 1001)


def test_a_mid_that_moves_against_the_imbalance_is_a_warning(verdicts):
    """Sizes of bids and asks exchanged: the bid is heavy before the mid falls."""

    def lean(feed, truth):
        mid = truth.tick[:, :, 0].sum(axis=1)
        coming = np.append(np.sign(np.diff(mid)), 0)
        truth.lots[:, 0, 0] = np.where(coming < 0, 900, 100)
        truth.lots[:, 1, 0] = np.where(coming > 0, 900, 100)
        return feed, truth

    found = verdicts(lean)
    assert found["imbalance-sign"].level == "warning"
    assert "a correlation of -" in found["imbalance-sign"].found


# What becomes of it -------------------------------------------------------------------------------


def test_a_refusal_names_file_row_rule_and_whatever_else_is_broken(verdicts, tmp_path):
    def swap(feed, truth):
        return feed, truth._replace(tick=truth.tick[:, ::-1], lots=truth.lots[:, ::-1])

    error = refusal(list(verdicts(swap).values()))
    assert isinstance(error, DataError)
    assert (error.file, error.row) == (str(tmp_path / "made-up.txt"), 81)
    assert "[snapshot-sides] the best bid of a snapshot is below its best ask" in str(error)
    assert "Also broken: snapshot-order, " in str(error)


def test_a_finding_names_the_file_that_its_row_is_of(verdicts):
    """Messages in two files, their books in a third: each offence is in its own."""

    def split(feed, truth):
        feed["row"] = np.where(
            feed["row"] <= 1000, feed["row"], in_file(1, np.maximum(feed["row"] - 1000, 1))
        )
        feed["time_ns"][2500] = 0
        ticks = truth.tick.copy()
        ticks[300] = ticks[300, ::-1]
        return feed, truth._replace(row=in_file(2, truth.row), tick=ticks)

    found = verdicts(split, files=("one.csv", "two.csv", "books.csv"))
    assert (found["time-order"].file, found["time-order"].row) == ("two.csv", 1501)
    row = 81 + 300
    assert (found["snapshot-sides"].file, found["snapshot-sides"].row) == ("books.csv", row)
    assert found["gaps"].file == "one.csv"


def test_rows_of_any_file_are_told_apart():
    files = ("a", "b", "c")
    for number, row in ((0, 1), (1, 1), (2, (1 << 40) - 1)):
        assert place(files, in_file(number, row)) == (files[number], row)
    rows = in_file(2, np.array([5, 7]))
    assert [place(files, row) for row in rows] == [("c", 5), ("c", 7)]


def test_what_breaks_a_check_is_not_stored_unless_it_is_kept(tmp_path):
    def swap(feed, truth):
        return feed, truth._replace(tick=truth.tick[:, ::-1], lots=truth.lots[:, ::-1])

    store = Store(tmp_path / "store")
    with pytest.raises(DataError, match="snapshot-sides"):
        import_session(made_up(tmp_path / "f", n=300, change=swap), store)
    assert list(store.folder.iterdir()) == []

    kept = import_session(made_up(tmp_path / "f", n=300, change=swap), store, keep=True)
    levels = {check["check"]: check["level"] for check in kept.manifest["checks"]}
    assert levels["snapshot-sides"] == "error"
