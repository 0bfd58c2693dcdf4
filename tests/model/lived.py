"""Sessions for the tests of actions and features: recorded from messages, passed over, lived again.

Knows the engine and the tests' own markets, and nothing of how an action is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mtsim.engine import events
from mtsim.engine.batch import Books
from mtsim.engine.events import EVENT_DTYPE, EventType, Origin
from mtsim.engine.messages import Kind, Reject, SelfTrade
from mtsim.model.actions import ACTION_DTYPE
from mtsim.model.features import FEATURES, Settings
from mtsim.model.history import Observed, observe_session
from mtsim.model.observer import Observer
from tests.engine.streams import RandomStream, batch, limit
from tests.model.generated_feed import made_up_feed

STEP_NS = 7_000_000
AT = {name: n for n, name in enumerate(FEATURES)}


@dataclass
class Whole:
    """All batches of a pass in one; `closed` counts from the session's first action."""

    actions: np.ndarray
    features: np.ndarray
    closed: np.ndarray
    closing_features: np.ndarray
    silent: Counter[str]


def whole(batches: Iterable[Observed]) -> Whole:
    """The batches of a pass, joined."""
    done = list(batches)
    starts = np.cumsum([0, *(len(one.actions) for one in done)])
    none = np.zeros((0, len(FEATURES)), np.float32)
    closed = [start + one.closed for start, one in zip(starts, done, strict=False)]
    return Whole(
        _joined((one.actions for one in done), np.zeros(0, ACTION_DTYPE)),
        _joined((one.features for one in done), none),
        _joined(closed, np.zeros(0, np.int64)),
        _joined((one.closing_features for one in done), none),
        sum((one.silent for one in done), Counter()),
    )


def passed(rows: np.ndarray, settings: Settings = Settings(), **more: int) -> Whole:  # noqa: B008
    """What the pass makes of one array of events."""
    return whole(observe_session([rows], settings, **more))


def recorded(
    messages: np.ndarray,
    time_ns: np.ndarray | None = None,
    origin: np.ndarray | int = Origin.OBSERVED,
    books: Books | None = None,
) -> np.ndarray:
    """The events of messages that a book (an empty one, if not said) executes as they are."""
    time_ns = STEP_NS * np.arange(len(messages)) if time_ns is None else time_ns
    outcome = (books or Books(1)).process(messages)
    return events.from_messages(time_ns, messages, outcome.results, origin=origin)


def with_marker(rows: np.ndarray, at: int, kind: EventType) -> np.ndarray:
    """The events with a marker before row `at`."""
    marker = events.marker(int(rows["time_ns"][at]), kind)
    return np.concatenate([rows[:at], marker, rows[at:]])


def market_session(seed: int, n: int = 2_000) -> np.ndarray:
    """A session of `generated_feed`, with a start, an opening, inferred rows and a gap in it."""
    feed, _ = made_up_feed(seed, n, every=10**9)
    origin = feed["origin"].copy()
    rng = np.random.default_rng(seed)
    inferred = (origin == Origin.OBSERVED) & (rng.random(len(feed)) < 0.1)
    origin[inferred] = Origin.INFERRED
    rows = recorded(np.ascontiguousarray(feed["message"]), feed["time_ns"], origin)
    # Two things at one instant, now and then.
    rows["time_ns"][1::5] = rows["time_ns"][0::5][: len(rows["time_ns"][1::5])]
    rows = with_marker(rows, 80 + n // 2, EventType.GAP)
    return with_marker(rows, 0, EventType.SESSION_START)


def wild_session(seed: int, n: int = 4_000, *, self_trade: bool = True) -> np.ndarray:
    """A session of `RandomStream`: icebergs, refusals, replacements, auctions, empty sides.

    Of two owners, one of whom is the background; it opens with an order on each side, far away.
    """
    blocks = [RandomStream(some).block(n // 2) for some in (seed, seed + 1)]
    messages = np.concatenate(blocks)
    messages["owner"] = np.where(messages["owner"] > 0, messages["owner"] % 2, messages["owner"])
    if not self_trade:
        messages["stp"] = SelfTrade.ALLOW
    far = 10**8
    opening = batch(limit(0, -far, 1, 10**15, owner=0), limit(1, far, 1, 10**15 + 1, owner=0))
    origin = np.zeros(n + 2, np.uint8)
    origin[:2] = Origin.OPENING
    rng = np.random.default_rng(seed)
    time_ns = np.cumsum(rng.integers(0, 3, n + 2) * rng.integers(0, 10**8, n + 2))
    return recorded(np.concatenate([opening, messages]), time_ns, origin)


def mirrored(messages: np.ndarray, axis_x2: int) -> np.ndarray:
    """The messages with buys and sells exchanged and prices mirrored at half of `axis_x2`."""
    other = messages.copy()
    enters = messages["kind"] <= Kind.MARKET
    other["side"] = np.where(enters, 1 - messages["side"], messages["side"])
    priced = enters | (messages["kind"] == Kind.REPLACE)
    other["price_tick"] = np.where(priced, axis_x2 - messages["price_tick"], 0)
    return other


@dataclass
class _Parts:
    """What became of one world so far."""

    actions: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    closing_features: list[np.ndarray] = field(default_factory=list)


def lived(sessions: Sequence[np.ndarray], settings: Sequence[Settings]) -> list[Whole]:
    """The sessions as worlds side by side, a row of each in turn, by the step form alone.

    `silent` is empty: the step form tells only what became of the last part of a message.
    """
    observer = Observer(Books(len(sessions)), settings)
    parts = [_Parts() for _ in sessions]
    is_open = [False] * len(sessions)
    for at in range(max(map(len, sessions))):
        for world, rows in enumerate(sessions):
            if at < len(rows):
                _live(observer, world, rows[at], parts[world], is_open)
    for world, mine in enumerate(parts):
        if is_open[world]:
            _close(observer, world, mine)
    return [
        Whole(
            _joined(mine.actions, np.zeros(0, ACTION_DTYPE)),
            _joined(mine.features, np.zeros((0, len(FEATURES)), np.float32)),
            np.array(mine.closed, np.int64),
            _joined(mine.closing_features, np.zeros((0, len(FEATURES)), np.float32)),
            Counter(),
        )
        for mine in parts
    ]


def _joined(arrays: Iterable[np.ndarray], none: np.ndarray) -> np.ndarray:
    return np.concatenate([none, *arrays])


def _live(observer: Observer, world: int, row: np.void, parts: _Parts, is_open: list[bool]) -> None:
    mine, time_ns = np.array([world]), int(row["time_ns"])
    is_marker = row["type"] >= EventType.SESSION_START
    in_auction = row["kind"] in (Kind.AUCTION, Kind.UNCROSS) and row["reject"] == Reject.NONE
    if is_open[world] and row["type"] != EventType.SESSION_START and (is_marker or in_auction):
        _close(observer, world, parts)
        is_open[world] = False
        observer.begin(time_ns, mine)
    if is_marker:
        return
    rows = np.zeros(1, EVENT_DTYPE)
    rows[0] = row
    message = events.to_messages(rows)
    if row["origin"] != Origin.OBSERVED or in_auction:
        observer.books.step(message[None], books=mine)
        observer.rebase(mine)
        return
    before = observer.observe(mine)
    done = observer.perform(world, message, time_ns)
    if len(done.actions):
        if is_open[world] and row["stp"] == SelfTrade.ALLOW:
            # What a decoder sees before it acts. (Self-trade prevention may change a book, and
            # only the rest of the order be an action.)
            assert done.features[:1].tobytes() == before.tobytes()
        is_open[world] = True
        parts.actions.append(done.actions)
        parts.features.append(done.features)


def _close(observer: Observer, world: int, parts: _Parts) -> None:
    parts.closed.append(sum(map(len, parts.actions)))
    parts.closing_features.append(observer.observe(np.array([world])))
