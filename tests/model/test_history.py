"""The pass over a session: every event executed, told once, and observed before it happens."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.engine.batch import Books
from mtsim.engine.events import EventType, Origin, to_messages
from mtsim.engine.messages import FillKind, Kind
from mtsim.engine.units import Side
from mtsim.errors import EngineInputError, UsageError
from mtsim.model.actions import ActionKind
from mtsim.model.execution import Execution
from mtsim.model.features import Settings
from mtsim.model.history import History, observe_session, settings_of
from mtsim.model.ingest import import_files, import_session
from mtsim.model.observer import Observer
from mtsim.model.sources.base import Options
from mtsim.model.sources.binance import open_sessions as open_binance
from mtsim.model.sources.databento import open_sessions as open_databento
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.store import Store
from tests.engine.streams import auction, batch, cancel, limit, uncross
from tests.model.generated_feed import made_up
from tests.model.lived import (
    AT,
    Whole,
    lived,
    market_session,
    passed,
    recorded,
    whole,
    wild_session,
    with_marker,
)

SEEDS = range(6)


def assert_same(one: Whole, other: Whole):
    """The same actions and features, bit for bit."""
    for name in ("actions", "features", "closed", "closing_features"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def lots_of(actions, kind) -> int:
    return int(actions["lots"][actions["kind"] == kind].sum(dtype=np.int64))


@pytest.mark.parametrize("batch_actions", [3, 50, 10_000])
def test_what_is_given_and_what_is_done_make_the_book_together(tmp_path, batch_actions):
    """Opening and inferred events come out where they were among the actions, none twice."""
    source = made_up(tmp_path / "feed", n=800)
    source.feed["origin"][200:500:7] = Origin.INFERRED
    rows = np.concatenate(list(Execution(source.session).run(source)))

    n_actions, places, given = 0, [], []
    for observed in History(batch_actions=batch_actions).observe([rows]):
        places += (n_actions + observed.given_after).tolist()
        given.append(observed.given)
        n_actions += len(observed.actions)

    given = np.concatenate(given)
    assert given.tobytes() == rows[rows["origin"] != Origin.OBSERVED].tobytes()
    assert places[:80] == [0] * 80
    assert places == sorted(places)
    assert places[-1] < n_actions


def test_the_past_of_a_pass_is_a_copy(tmp_path):
    source = made_up(tmp_path / "feed", n=600)
    rows = np.concatenate(list(Execution(source.session).run(source)))
    history = History(batch_actions=100)
    batches = history.observe([rows])
    next(batches)
    past, books = history.past(), history.books.copy()
    kept = past.floats.copy(), past.integers.copy()

    following = next(batches)

    assert np.array_equal(past.floats, kept[0])
    assert np.array_equal(past.integers, kept[1])
    observer = Observer(books)
    observer.past = past
    assert np.array_equal(observer.observe()[0], following.features[0])


def test_the_book_is_that_of_the_import(tmp_path):
    """And what was traded is what the import traded."""
    source = made_up(tmp_path / "feed", n=2_000)
    execution = Execution(source.session)
    rows = np.concatenate(list(execution.run(source)))

    history = History()
    done = whole(history.observe([rows]))

    digests, summary = execution.digests(), execution.summary()["events"]
    assert history.books.hash(0) == digests["book"]
    assert lots_of(done.actions, ActionKind.TRADE) == summary["traded_lots"] > 0
    assert done.silent == {"MARKER": 2, "OPENING": 80}


@pytest.mark.parametrize("seed", SEEDS)
def test_messages_in_parts_leave_the_book_that_whole_ones_leave(seed):
    """Icebergs, self-trade prevention, refusals and auctions included."""
    rows = wild_session(seed)
    books, history = Books(1), History()
    outcome = books.process(to_messages(rows))

    done = whole(history.observe([rows]))

    assert history.books.hash(0) == books.hash(0)
    history.books.check(0)
    by_auction = np.isin(outcome.fills["message"], np.flatnonzero(rows["kind"] == Kind.UNCROSS))
    trades = (outcome.fills["kind"] == FillKind.TRADE) & ~by_auction
    assert lots_of(done.actions, ActionKind.TRADE) == outcome.fills["lots"][trades].sum() > 0
    assert done.silent["REFUSED"] == np.count_nonzero(rows["reject"])


@pytest.mark.parametrize("seed", SEEDS)
def test_lots_are_conserved(seed):
    """What was added and neither traded nor cancelled is what rests."""
    rows = wild_session(seed, self_trade=False)
    rows = rows[~np.isin(rows["kind"], (Kind.AUCTION, Kind.UNCROSS))]
    history = History()

    done = whole(history.observe([rows])).actions

    added, traded, cancelled = (lots_of(done, kind) for kind in ActionKind)
    resting = sum(history.books.total_lots(0, side) for side in Side)
    opening = 2
    assert opening + added - traded - cancelled == resting
    assert min(added, traded, cancelled) > 0


@pytest.mark.parametrize("n_worlds", [1, 3, 8])
def test_live_worlds_see_what_the_pass_sees(n_worlds):
    """Different sessions side by side: actions and features bit for bit."""
    sessions = [
        market_session(seed, 700) if seed % 2 else wild_session(seed, 800)
        for seed in range(n_worlds)
    ]
    each = [Settings(day_start_ns=seed * 10**12, tier=seed) for seed in range(n_worlds)]

    for live, rows, mine in zip(lived(sessions, each), sessions, each, strict=True):
        done = passed(rows, mine)
        assert len(done.actions) > 100
        assert_same(live, done)


@pytest.fixture(scope="module", params=["market", "wild"])
def rows_and_done(request):
    rows = market_session(3) if request.param == "market" else wild_session(4)
    return rows, passed(rows, quiet_ns=10**9)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1))
def test_what_comes_later_changes_nothing_before(rows_and_done, share):
    """Prefix invariance, bit for bit: cut the session anywhere."""
    rows, done = rows_and_done
    cut = round(share * len(rows))

    assert_prefix(passed(rows[:cut], quiet_ns=10**9), done)


def assert_prefix(part: Whole, done: Whole):
    n, k = len(part.actions), len(part.closed)
    assert part.actions.tobytes() == done.actions[:n].tobytes()
    assert part.features.tobytes() == done.features[:n].tobytes()
    # The last stretch is closed by the cut.
    if k and part.closed[-1] == n:
        k -= 1
    assert part.closed[:k].tolist() == done.closed[:k].tolist()
    assert part.closing_features[:k].tobytes() == done.closing_features[:k].tobytes()


@pytest.mark.parametrize("batch_actions", [3, 4, 17, 1000])
@pytest.mark.parametrize("array_rows", [1, 50, 10_000])
def test_batches_do_not_show(rows_and_done, batch_actions, array_rows):
    rows, done = rows_and_done
    rows = rows[:600]
    done = passed(rows, quiet_ns=10**9)
    arrays = [rows[at : at + array_rows] for at in range(0, len(rows), array_rows)]

    batches = list(observe_session(arrays, quiet_ns=10**9, batch_actions=batch_actions))

    assert max(len(one.actions) for one in batches) <= batch_actions
    assert_same(whole(batches), done)
    assert whole(batches).silent == done.silent


def orders(first, n):
    return [limit(k % 2, 99 if k % 2 == 0 else 101, 2, first + k, owner=0) for k in range(n)]


@pytest.mark.parametrize("kind", [EventType.GAP, EventType.HALT, EventType.RESUME])
def test_a_marker_ends_a_stretch(kind):
    rows = recorded(batch(*orders(1, 8)))

    done = passed(with_marker(rows, 5, kind))

    # The first order of all has nothing to be told from.
    assert done.silent == {"NO_REFERENCE": 1, "MARKER": 1}
    assert done.actions["opens"].tolist() == [1, 0, 0, 0, 1, 0, 0]
    assert done.actions["gap_ns"].tolist() == [0, *[7_000_000] * 3, 0, *[7_000_000] * 2]
    assert done.closed.tolist() == [4, 7]


def test_an_auction_ends_a_stretch_and_teaches_nothing():
    rows = recorded(batch(*orders(1, 4), auction(), *orders(11, 3), uncross(100), *orders(21, 2)))

    done = passed(rows)

    assert done.silent == {"NO_REFERENCE": 1, "AUCTION": 5}
    assert done.actions["opens"].tolist() == [1, 0, 0, 1, 0]
    assert done.closed.tolist() == [3, 5]


def test_a_refused_auction_ends_nothing():
    rows = recorded(batch(*orders(1, 4), uncross(100), *orders(11, 3)))

    done = passed(rows)

    assert done.silent == {"NO_REFERENCE": 1, "REFUSED": 1}
    assert done.actions["opens"].sum() == len(done.closed) == 1


def test_silence_ends_a_stretch_where_asked():
    time_ns = np.array([0, 1, 2, 60, 61, 200, 261]) * 10**9
    rows = recorded(batch(*orders(1, 7)), time_ns)

    assert passed(rows).actions["opens"].sum() == 1
    done = passed(rows, quiet_ns=60 * 10**9)

    assert done.actions["opens"].tolist() == [1, 0, 0, 0, 1, 1]
    assert done.closed.tolist() == [4, 5, 6]
    # What closes a stretch is observed before what comes after, and at the time of what was before.
    assert done.closing_features[1, AT["since_start"]] == np.float32(np.log1p(200) / 3)
    assert done.features[4, AT["since_start"]] == np.float32(np.log1p(200) / 3)


def test_what_is_not_observed_moves_the_book_and_gives_no_action():
    rows = recorded(
        batch(*orders(1, 4), limit(1, 100, 7, 9, owner=0), limit(0, 99, 1, 10, owner=0)),
        origin=np.array([1, 1, 0, 0, 2, 0]),
    )

    done = passed(rows)

    assert done.silent == {"OPENING": 2, "INFERRED": 1}
    assert len(done.actions) == 3
    assert done.features[-1, AT["spread"]] == np.float32(np.log1p(1) / 3)
    assert done.features[-1, AT["last_move"]] == 0, "nothing that was observed moved the mid"


def test_nothing_in_nothing_out():
    assert list(observe_session([])) == []
    empty = passed(recorded(batch(cancel(1))))
    assert len(empty.actions) == len(empty.closed) == 0
    assert empty.silent == {"REFUSED": 1}


def test_wishes_that_make_no_sense_are_errors():
    with pytest.raises(UsageError, match="quiet_ns must not be negative, got -1"):
        History(quiet_ns=-1)
    with pytest.raises(UsageError, match="batch_actions must be at least 3, got 2"):
        History(batch_actions=2)
    with pytest.raises(UsageError, match="flow_half_life_ns must be at least 1, got 0"):
        Settings(flow_half_life_ns=0)
    with pytest.raises(EngineInputError, match="EVENT_DTYPE is needed, got int64"):
        list(observe_session([np.zeros(3, np.int64)]))


def test_a_stored_session_knows_when_its_day_began(tmp_path):
    stored = import_session(made_up(tmp_path / "feed", n=500), Store(tmp_path / "store"))

    settings = settings_of(stored, Settings(tier=3))
    done = whole(observe_session(stored, Settings(tier=3)))

    assert settings == Settings(tier=3, day_start_ns=34_200 * 10**9)
    assert_same(done, passed(np.concatenate(list(stored.events())), settings))
    half_past_nine = 2 * np.pi * 9.5 / 24
    assert abs(done.features[0, AT["day_sin"]] - np.sin(half_past_nine)) < 1e-3
    assert (done.features[:, AT["tier"]] == 3).all()


# Real feeds ---------------------------------------------------------------------------------------


def imported(open_sessions, file: Path, store: Path, **options):
    done = list(
        import_files(open_sessions, (str(file),), Options(**options), Store(store), keep=True)
    )
    return [one.stored for one in done if one.stored is not None]


def assert_sound(stored, least: int):
    """The book of the import, its trades, finite features of a size that a network likes."""
    history = History(settings_of(stored))
    done = whole(history.observe(stored.events()))
    manifest = stored.manifest
    assert history.books.hash(0) == manifest["digests"]["book"]
    assert lots_of(done.actions, ActionKind.TRADE) == manifest["events"]["traded_lots"] > 0
    assert len(done.actions) >= least
    assert np.isfinite(done.features).all()
    assert np.abs(done.features).max() < 10
    return done


@pytest.fixture(scope="module")
def amazon(market_data, tmp_path_factory):
    file = market_data / "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"
    (stored,) = imported(open_lobster, file, tmp_path_factory.mktemp("store"))
    return stored


@pytest.fixture(scope="module")
def amazon_and_done(amazon):
    rows = np.concatenate(list(amazon.events()))
    return rows, passed(rows, settings_of(amazon), quiet_ns=10**10)


def test_a_real_session_of_orders_comes_out_whole(amazon):
    assert_sound(amazon, 150_000)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(0, 150_000))
def test_of_a_real_session_too_what_comes_later_changes_nothing(amazon, amazon_and_done, cut):
    rows, done = amazon_and_done
    assert_prefix(passed(rows[:cut], settings_of(amazon), quiet_ns=10**10), done)


def test_a_real_future_comes_out_whole(market_data, tmp_path):
    file = market_data / "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst"
    for stored in imported(open_databento, file, tmp_path):
        assert_sound(stored, 1)


def test_a_feed_of_trades_gives_trades_of_what_was_asked(market_data, tmp_path):
    file = market_data / "binance_trades/ETHUSDT-trades-2024-08-08_2354-0000.zip"
    options = {"tick_size": Decimal("0.01"), "lot_size": Decimal("0.0001")}
    stored, *_ = imported(open_binance, file, tmp_path, **options)

    assert settings_of(stored).bookless
    done = whole(observe_session(stored))

    rows = np.concatenate(list(stored.events()))
    asked = rows["lots"][rows["type"] == EventType.MARKETABLE]
    assert (done.actions["kind"] == ActionKind.TRADE).all()
    assert done.actions["lots"].tolist() == asked.tolist()
    assert np.isnan(done.actions["vwap_tick"][0])
    assert np.isfinite(done.actions["vwap_tick"][1:]).all()
    assert np.isfinite(done.features).all()
    assert len(np.unique(done.features[:, AT["last_move"]])) > 3
