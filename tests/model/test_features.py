"""What is observed: right by an independent reckoning, causal, finite, and mirrored by a mirror."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Reject
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, MAX_TICK, Side
from mtsim.errors import EngineInputError
from mtsim.model.actions import ActionKind
from mtsim.model.features import (
    FEATURES,
    LEVELS,
    MIRROR,
    MIRROR_SIGN,
    Settings,
    log1p_integer,
)
from mtsim.model.observer import Observer
from mtsim.model.past import VWAP
from tests.engine.streams import RandomStream, auction, batch, cancel, limit, uncross
from tests.model.generated_feed import MID, made_up_feed
from tests.model.lived import AT, market_session, mirrored, passed, recorded, wild_session

BUY, SELL = Side.BUY, Side.SELL
SECOND_NS = 10**9
INEXACT_MIRROR = ("since_open", "vwap_deviation")


def world(*rows, settings=Settings(), second=0.0):  # noqa: B008
    """An observer of one world that did these things, a second apart."""
    observer = Observer(Books(1), settings)
    for n, row in enumerate(rows):
        observer.perform(0, batch(row), int((second + n) * SECOND_NS))
    return observer


def shown(observer, *names):
    values = observer.observe()[0]
    return [float(values[AT[name]]) for name in names]


def log(x):
    return np.log1p(x) / 3


def signed_log(x):
    return np.arcsinh(x) / 3


# The whole, reckoned once more --------------------------------------------------------------------


class Reckoning:
    """The features of one world in plain Python, from depth snapshots and lists of trades."""

    def __init__(self, of: Settings):
        self.of = of
        self.books = Books(1)
        self.time_ns = self.gap_ns = 0
        self.mids: list[float] = []
        self.move = 0.0
        self.moves: list[tuple[int, float]] = []
        self.flows: list[tuple[int, float]] = []
        self.trades: list[tuple[int, int, int]] = []

    def levels(self, side):
        ticks, lots = self.books.depth(LEVELS)
        return [(int(t), int(n)) for t, n in zip(ticks[0, side], lots[0, side], strict=True) if n]

    def mid(self):
        bid, ask = self.books.touch()[0].tolist()
        return None if bid == EMPTY_BID or ask == EMPTY_ASK else (bid + ask) / 2

    def act(self, message, time_ns, *, counts=True):
        before = [self.levels(side)[:1] for side in (BUY, SELL)]
        fills = self.books.process(message).fills
        after = [self.levels(side)[:1] for side in (BUY, SELL)]
        mid = self.mid()
        if counts:
            self.gap_ns, self.time_ns = time_ns - self.time_ns, time_ns
            bid_flow = flow(before[0], after[0], 1)
            ask_flow = flow(before[1], after[1], -1)
            self.flows.append((time_ns, bid_flow - ask_flow))
            if mid is not None and self.mids and mid != self.mids[-1]:
                self.move = mid - self.mids[-1]
                self.moves.append((time_ns, self.move))
            rows = zip(fills["price_tick"].tolist(), fills["lots"].tolist(), strict=True)
            self.trades += [(time_ns, price, lots) for price, lots in rows]
        if mid is not None:
            self.mids.append(mid)

    def begin(self, time_ns):
        self.time_ns = time_ns
        mid = self.mid()
        assert mid is not None
        self.open = mid

    def features(self):
        bids, asks = self.levels(BUY), self.levels(SELL)
        found = dict.fromkeys(FEATURES, 0.0)
        for name, levels in (("bid", bids), ("ask", asks)):
            for n, (_, lots) in enumerate(levels):
                found[f"{name}_lots_{n + 1}"] = log(lots)
            if len(levels) > 1:
                found[f"{name}_gap"] = log(abs(levels[0][0] - levels[1][0]))
        if bids and asks:
            found["spread"] = log(asks[0][0] - bids[0][0])
        for name, depth in (("touch_imbalance", 1), ("near_imbalance", 5)):
            b, a = (sum(lots for _, lots in side[:depth]) for side in (bids, asks))
            found[name] = (b - a) / (b + a) if b + a else 0.0
        found["last_move"] = np.sign(self.move) * log(2 * abs(self.move))
        variance = self.decayed(
            ((t, m * m) for t, m in self.moves), self.of.volatility_half_life_ns
        )
        found["volatility"] = log(np.sqrt(variance))
        size = self.decayed(((t, abs(e)) for t, e in self.flows), self.of.flow_half_life_ns)
        if size:
            found["flow_imbalance"] = self.decayed(self.flows, self.of.flow_half_life_ns) / size
        of_day = (self.of.day_start_ns + self.time_ns) / SECOND_NS / 86_400 * 2 * np.pi
        found["day_sin"], found["day_cos"] = np.sin(of_day), np.cos(of_day)
        found["since_start"] = log(self.time_ns // SECOND_NS)
        found["since_open"] = signed_log(1e4 * np.log(self.mids[-1] / self.open))
        found["tier"] = self.of.tier
        if self.trades:
            last = self.trades[-1][0]
            weights = [2 ** (-(last - t) / self.of.vwap_half_life_ns) for t, _, _ in self.trades]
            value = sum(w * p * q for w, (_, p, q) in zip(weights, self.trades, strict=True))
            vwap = value / sum(w * q for w, (_, _, q) in zip(weights, self.trades, strict=True))
            found["vwap_deviation"] = signed_log(self.mids[-1] - vwap)
        found["gap"] = log(self.gap_ns)
        return [found[name] for name in FEATURES]

    def decayed(self, timed, half_life_ns):
        return sum(2 ** (-(self.time_ns - t) / half_life_ns) * x for t, x in timed)


def flow(before, after, better):
    """Cont et al.: what came to a touch, less what left it."""
    (p0, q0), (p1, q1) = (*before, (None, 0))[0], (*after, (None, 0))[0]
    came = q1 if p0 is None or (p1 is not None and better * (p1 - p0) >= 0) else 0
    left = q0 if p1 is None or (p0 is not None and better * (p1 - p0) <= 0) else 0
    return came - left


@pytest.mark.parametrize("seed", [1, 2])
def test_features_are_those_of_a_plain_reckoning(seed):
    """Within the rounding of float32, over a session with inferred rows in it."""
    feed, _ = made_up_feed(seed, 700, every=10**9)
    origin = feed["origin"].copy()
    origin[100::9] = Origin.INFERRED
    of = Settings(3 * SECOND_NS, 2 * SECOND_NS, SECOND_NS, day_start_ns=10**13, tier=4)
    single = feed["message"]["kind"] != Kind.REPLACE
    messages = np.ascontiguousarray(feed["message"][single])
    origin, time_ns = origin[single], feed["time_ns"][single]

    rows = recorded(messages, time_ns, origin)
    told = (origin == Origin.OBSERVED) & (rows["reject"] == Reject.NONE)

    plain, expected = Reckoning(of), []
    for n in range(len(messages)):
        if told[n] and not expected:
            plain.begin(int(time_ns[n]))
        if told[n]:
            expected.append(plain.features())
        plain.act(messages[n : n + 1], int(time_ns[n]), counts=told[n])

    done = passed(rows, of)

    assert len(done.features) == len(expected) > 400
    np.testing.assert_allclose(done.features, expected, rtol=2e-6, atol=2e-6)
    assert {ActionKind.ADD, ActionKind.TRADE, ActionKind.CANCEL} == set(done.actions["kind"])
    moving = done.features.std(axis=0) > 0
    assert [FEATURES[n] for n in np.flatnonzero(~moving)] == ["tier", "by_agent"]


# Laws ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_every_book_has_finite_features_of_a_moderate_size(seed):
    """Empty and one-sided books, prices at the ends of what there is, icebergs."""
    messages = RandomStream(seed).block(3_000)
    rows = recorded(messages, np.cumsum(np.arange(len(messages)) ** 4))

    done = passed(rows, Settings(day_start_ns=-5 * 10**13))

    both = np.concatenate([done.features, done.closing_features])
    assert len(both) > 20
    assert np.isfinite(both).all()
    for name in ("touch_imbalance", "near_imbalance", "flow_imbalance", "day_sin", "day_cos"):
        assert np.abs(both[:, AT[name]]).max() <= 1
    assert np.abs(both).max() < 15


def test_the_ends_of_what_there_is():
    far = world(limit(BUY, -MAX_TICK, MAX_LOTS, 1), limit(SELL, MAX_TICK, MAX_LOTS, 2))
    values = far.observe()[0]
    assert np.isfinite(values).all()
    assert values[AT["spread"]] == pytest.approx(log(2.0**31))
    assert values[AT["bid_lots_1"]] == pytest.approx(log(2.0**30))


def test_an_empty_world_shows_nothing_but_the_clock():
    values = Observer(Books(2), Settings(day_start_ns=6 * 3600 * SECOND_NS)).observe()
    assert values.shape == (2, len(FEATURES))
    assert [FEATURES[n] for n in np.flatnonzero(np.abs(values[1]) > 1e-9)] == ["day_sin"]


def test_a_one_sided_book_has_no_spread_and_keeps_its_mid():
    both = (limit(BUY, 99, 5, 1), limit(SELL, 101, 5, 2), limit(SELL, 105, 1, 3))
    moved = world(*both, cancel(2))
    assert shown(moved, "last_move") == pytest.approx([log(4)])
    left = world(*both, cancel(2), cancel(3))
    assert shown(left, "spread", "ask_lots_1", "touch_imbalance") == [0, 0, 1]
    # The mid that was last is still the mid: its way since the open too.
    assert shown(left, "last_move", "since_open") == shown(moved, "last_move", "since_open")


@pytest.mark.parametrize("market", ["made up", "wild"])
def test_a_mirrored_session_has_mirrored_features_and_actions(market):
    axis_x2 = 2 * MID
    if market == "made up":
        feed, _ = made_up_feed(5, 1_000, every=10**9)
        messages, time_ns = np.ascontiguousarray(feed["message"]), feed["time_ns"]
    else:
        messages, time_ns = RandomStream(9).block(2_000), None
        messages = messages[np.isin(messages["kind"], range(Kind.REPLACE + 1))]
        messages = messages[messages["side"] <= 1]
        axis_x2 = 0
    rows = recorded(messages, time_ns)
    other = recorded(mirrored(messages, axis_x2), time_ns)

    one, two = passed(rows), passed(other)

    expected = one.features[:, MIRROR] * MIRROR_SIGN
    exact = [n for n, name in enumerate(FEATURES) if name not in INEXACT_MIRROR]
    assert np.array_equal(two.features[:, exact], expected[:, exact])
    if market == "made up":
        close = two.features[:, AT["vwap_deviation"]] - expected[:, AT["vwap_deviation"]]
        assert np.abs(close).max() < 1e-4
        close = two.features[:, AT["since_open"]] - expected[:, AT["since_open"]]
        assert np.abs(close).max() < 0.01
    actions = one.actions.copy()
    actions["side"] = 1 - actions["side"]
    actions["price_tick"] = axis_x2 - actions["price_tick"]
    # A weighted price of so large numbers is mirrored but for its rounding.
    actions["vwap_tick"] = two.actions["vwap_tick"]
    assert actions.tobytes() == two.actions.tobytes()
    assert len(actions) > 500


def test_the_mirror_of_the_mirror_is_the_world():
    assert np.array_equal(MIRROR[MIRROR], np.arange(len(FEATURES)))
    assert np.array_equal(MIRROR_SIGN[MIRROR], MIRROR_SIGN)
    assert FEATURES[MIRROR[AT["bid_lots_3"]]] == "ask_lots_3"
    assert len(set(FEATURES)) == len(FEATURES) == 36


def test_looking_changes_nothing():
    rows = market_session(2, 300)
    books = Books(2)
    observer = Observer(books)
    for row in rows[rows["kind"] <= Kind.REPLACE][:200]:
        message = np.zeros(1, MESSAGE_DTYPE)
        for name in MESSAGE_DTYPE.names or ():
            message[name] = row[name]
        observer.perform(0, message, int(row["time_ns"]))
        observer.perform(1, message, int(row["time_ns"]))
        first = observer.observe(np.array([0, 1, 0]))
        assert first[0].tobytes() == first[1].tobytes() == first[2].tobytes()
        # World 1 is looked at again, and goes on like world 0.
        observer.observe(np.array([1]))


# One by one ---------------------------------------------------------------------------------------

QUOTE = (limit(BUY, 99, 10, 1, owner=0), limit(SELL, 101, 10, 2, owner=0))


def test_fills_of_one_instant_count_by_their_lots():
    """The additive form; a moving average would have given the second fill no weight."""
    asks = (*QUOTE, limit(SELL, 103, 30, 3, owner=0))
    observer = world(*asks, limit(BUY, 103, 40, 9, tif=1))
    vwap = (101 * 10 + 103 * 30) / 40
    assert observer.past.floats[0, VWAP] == vwap

    observer.perform(0, batch(limit(SELL, 105, 10, 4)), 60 * SECOND_NS)
    observer.perform(0, batch(limit(BUY, 105, 10, 10, tif=1)), 63 * SECOND_NS)
    # One half-life of 60 s after the trade at 3 s.
    expected = (0.5 * 40 * vwap + 10 * 105) / (0.5 * 40 + 10)
    assert observer.past.floats[0, VWAP] == pytest.approx(expected, rel=1e-14)


def test_there_is_no_vwap_before_the_first_trade():
    rows = batch(
        *QUOTE, limit(BUY, 98, 1, 3, owner=0), limit(BUY, 101, 4, 9, tif=1), cancel(3, owner=0)
    )
    done = passed(recorded(rows))
    assert np.isnan(done.actions["vwap_tick"]).tolist() == [True, True, True, False]
    assert done.actions["vwap_tick"][3] == 101
    assert done.features[:, AT["vwap_deviation"]].tolist() == [0, 0, 0, np.float32(signed_log(-1))]


@pytest.mark.parametrize(
    ("row", "sign"),
    [
        (limit(BUY, 99, 4, 9), 1),  # more lots at the bid
        (limit(BUY, 100, 4, 9), 1),  # a better bid
        (limit(SELL, 101, 4, 9), -1),
        (limit(SELL, 100, 4, 9), -1),
        (cancel(1, owner=0), -1),  # the bid leaves
        (cancel(2, owner=0), 1),
        (limit(BUY, 101, 4, 9, tif=1), 1),  # a taker of the ask
        (limit(SELL, 99, 4, 9, tif=1), -1),
        (limit(BUY, 98, 4, 9), 0),  # behind the touch
    ],
)
def test_order_flow_has_the_sign_of_who_gains(row, sign):
    observer = world(*QUOTE)
    observer.begin(5 * SECOND_NS)
    assert shown(observer, "flow_imbalance") == [0]
    observer.perform(0, batch(row), 5 * SECOND_NS)
    assert shown(observer, "flow_imbalance") == [sign]


def test_what_is_rebased_is_no_flow_and_no_move():
    observer = world(*QUOTE)
    before = shown(observer, "flow_imbalance", "last_move", "volatility", "gap")
    observer.books.step(batch(limit(BUY, 100, 50, 5))[None])
    observer.rebase()
    assert shown(observer, "flow_imbalance", "last_move", "volatility", "gap") == before
    assert shown(observer, "spread") == pytest.approx([log(1)])
    # The next action is measured against the book as it became.
    observer.perform(0, batch(limit(BUY, 100, 1, 6)), 2 * SECOND_NS)
    assert shown(observer, "last_move", "volatility") == [0, 0]


def test_a_stretch_forgets_activity_and_a_session_everything():
    rows = (*QUOTE, limit(BUY, 100, 4, 3), limit(BUY, 101, 4, 9, tif=1))
    names = ("last_move", "volatility", "flow_imbalance", "gap", "by_agent")
    kept = ("since_open", "vwap_deviation")
    observer = world(*rows)
    assert 0 not in shown(observer, *names, *kept)
    was = shown(observer, *kept)

    observer.begin(100 * SECOND_NS)
    assert shown(observer, *names) == [0, 0, 0, 0, 0]
    assert shown(observer, *kept) == was
    assert shown(observer, "since_start") == pytest.approx([log(100)])

    observer.forget()
    observer.begin(0)
    assert shown(observer, *names, *kept, "since_start") == [0] * 8


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.integers(0, 10_000), st.integers(0, 2**62)))
def test_the_logarithm_of_an_integer(n):
    assert compiled_log(n) == pytest.approx(np.log1p(float(n)), abs=2e-7, rel=1e-15)


@njit
def compiled_log(n):
    return log1p_integer(n)


def test_the_logarithm_of_a_longer_integer_is_not_smaller():
    values = np.array([compiled_log(n) for n in range(3_000, 40_000)])
    assert (np.diff(values) > 0).all()


# Mistakes of users --------------------------------------------------------------------------------


def test_what_an_observer_cannot_do_is_an_error():
    books = Books(2)
    with pytest.raises(EngineInputError, match="settings must be one or 2, one a book, got 3"):
        Observer(books, [Settings()] * 3)
    with pytest.raises(EngineInputError, match='ids="external"'):
        Observer(Books(1, ids="handle"))
    observer = Observer(books)
    with pytest.raises(EngineInputError, match="worlds 0 to 1, got 2 to 2"):
        observer.perform(2, batch(cancel(1)), 0)
    with pytest.raises(EngineInputError, match="one row of MESSAGE_DTYPE, got 2"):
        observer.perform(0, batch(cancel(1), cancel(2)), 0)
    observer.perform(0, batch(auction()), 0)
    with pytest.raises(EngineInputError, match="an UNCROSS is no action"):
        observer.perform(0, batch(uncross(100)), 0)


def test_a_wild_session_is_wild():
    """The sessions that the laws are tried on hold what they are meant to."""
    rows = wild_session(4)
    assert np.count_nonzero(rows["reject"]) > 100
    done = passed(rows)
    assert set(done.actions["kind"].tolist()) == {0, 1, 2}
    assert set(done.actions["place"].tolist()) == {0, 1, 2, 3}
    assert done.actions["agent"].any()
    assert not done.actions["agent"].all()
    assert (done.features[:, AT["bid_lots_2"]] == 0).any()
