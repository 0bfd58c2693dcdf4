"""The benchmark stream `zi1`: zero-intelligence order flow with its right answer, made from
integers alone.

Every message is drawn against a live book, so each cancel names an order that rests at that
moment. The book here is a few lists of this module's own: it shares nothing with the engines that
the stream measures, and two published SHA-256 digests say whether both came out right.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import tempfile
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from mtsim.engine.messages import MESSAGE_DTYPE, Kind
from mtsim.errors import IntegrityError

ADD, CANCEL = 0, 1

ROW_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("flags", "<u2"),
        ("price_tick", "<i4"),
        ("lots", "<i4"),
        ("order_id", "<u4"),
    ]
)
"""One message: a limit order (`kind` 0, its `order_id` the next dense one from 0) or a cancel (1)
of a live order, which repeats the order's side, price and open lots. Bit 0 of `flags`: the limit
order was meant to trade at once."""

FILL_ROW_DTYPE = np.dtype(
    [
        ("message", "<u4"),
        ("maker_id", "<u4"),
        ("taker_id", "<u4"),
        ("price_tick", "<i4"),
        ("lots", "<i4"),
    ]
)
"""One trade that a right engine makes, in order; `message` counts the rows of the stream from 0."""


class Stream(NamedTuple):
    """Messages (ROW_DTYPE) and the fills (FILL_ROW_DTYPE) they must give."""

    rows: np.ndarray
    fills: np.ndarray


@dataclass(frozen=True)
class Spec:
    """What is drawn. The book is filled with `prefill` adds, then `timed` messages hold it near
    `target` orders."""

    seed: int = 20260
    prefill: int = 10_000
    timed: int = 2_000_000
    target: int = 10_000
    mid_tick: int = 100_000
    messages_sha256: str | None = None
    fills_sha256: str | None = None


ZI1 = Spec(
    messages_sha256="294f3a580e985cbbb763886fbd850f8a68849c92b354771ff6bc5d834371f858",
    fills_sha256="7e025d8d7e9149de37f176e898934048260956245ee0701631e2d3cb6f86f895",
)

_FILES = ("messages.npy", "fills.npy")

# Probabilities are integers out of 2^20, so that no draw depends on a machine's floating point.
_ONE = 1 << 20
_MARKETABLE = int(0.07 * _ONE)
_ADD = int(0.48 * _ONE)
_FEEDBACK = int(0.10 * _ONE)
_MAX_FEEDBACK = int(0.03 * _ONE)
_WITH_REGIME = int(0.55 * _ONE)
_REGIME_ORDERS = 4096
_DEPTH_RATIO = Fraction(49, 50)  # P(depth > k) = ratio^(k + 1)
_MAX_DEPTH = 1024
_MEDIAN_LOTS = 4.0
_SIGMA_LOTS = 1.0


def stream(spec: Spec = ZI1) -> Stream:
    """The stream of `spec`, from the user's cache when an intact copy lies there, else generated
    (`zi1` takes seconds) and, where it can be, cached. Only a spec with digests is ever cached."""
    if spec.messages_sha256 is None or spec.fills_sha256 is None:
        return generate(spec)
    folder = cache_folder() / "zi1" / spec.messages_sha256[:16]
    cached = _load(folder, spec)
    if cached is not None:
        return cached
    made = generate(spec)
    # The cache only saves time: a read-only or full home directory must not stop a benchmark.
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in zip(_FILES, made, strict=True):
            _save(folder / name, array)
    return made


def generate(spec: Spec) -> Stream:
    """The stream of `spec`. IntegrityError when the spec names digests and the result has
    others."""
    made = _generate(spec)
    for what, array, expected in (
        ("messages", made.rows, spec.messages_sha256),
        ("fills", made.fills, spec.fills_sha256),
    ):
        found = sha256(array)
        if expected is not None and found != expected:
            raise IntegrityError(
                f"zi1: the generated {what} have SHA-256 {found}, published is {expected}. "
                "This is a defect of mtsim or of the Python it runs on: please report it."
            )
    return made


def sha256(array: np.ndarray) -> str:
    """The digest of an array's bytes: for streams and fills, what the specification publishes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def to_messages(rows: np.ndarray, first_id: int = 1) -> np.ndarray:
    """The stream as engine messages; order k of the stream gets the id `first_id + k`."""
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    messages["kind"] = np.where(rows["kind"] == CANCEL, Kind.CANCEL, Kind.LIMIT)
    for field in ("side", "price_tick", "lots"):
        messages[field] = rows[field]
    messages["order_id"] = rows["order_id"].astype(np.int64) + first_id
    return messages


def to_fill_rows(fills: np.ndarray, first_id: int = 1) -> np.ndarray:
    """An engine's FILL_DTYPE rows in the form of the specification, ready for `sha256`."""
    rows = np.empty(len(fills), FILL_ROW_DTYPE)
    rows["message"] = fills["message"]
    rows["maker_id"] = fills["maker_id"] - first_id
    rows["taker_id"] = fills["taker_id"] - first_id
    rows["price_tick"] = fills["price_tick"]
    rows["lots"] = fills["lots"]
    return rows


def cache_folder() -> Path:
    """Where mtsim keeps what it can make again: $MTSIM_CACHE_DIR, else the platform's cache
    folder."""
    if own := os.environ.get("MTSIM_CACHE_DIR"):
        return Path(own)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "mtsim"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mtsim"
    return Path.home() / ".cache" / "mtsim"


def _load(folder: Path, spec: Spec) -> Stream | None:
    """The cached stream when both files are there and have the spec's digests."""
    arrays = []
    for name, dtype, expected in zip(
        _FILES,
        (ROW_DTYPE, FILL_ROW_DTYPE),
        (spec.messages_sha256, spec.fills_sha256),
        strict=True,
    ):
        try:
            array = np.load(folder / name, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if array.dtype != dtype or array.ndim != 1 or sha256(array) != expected:
            return None
        arrays.append(array)
    return Stream(*arrays)


def _save(path: Path, array: np.ndarray) -> None:
    # A rename within one folder: two benchmarks at once write the same bytes and never see half a
    # file.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, array, allow_pickle=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _words(seed: int, stream: int, count: int) -> np.ndarray:
    """`count` SplitMix64 words: word k of a (seed, stream) depends on nothing but k."""
    golden, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    start = (seed * 0xD1342543DE82EF95 + stream * 0x2545F4914F6CDD1D + golden) & mask
    word = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(golden)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@cache
def _depth_thresholds() -> np.ndarray:
    """Entry k: floor(2^53 P(depth <= k)), so that a depth is the number of entries not above a
    53-bit draw."""
    thresholds, beyond = [], Fraction(1)
    for _ in range(_MAX_DEPTH):
        beyond *= _DEPTH_RATIO
        thresholds.append(int((1 - beyond) * (1 << 53)))
    return np.array(thresholds, np.uint64)


@cache
def _lots_table() -> np.ndarray:
    """4,096 equally likely lognormal sizes of at least one lot."""
    normal = NormalDist()
    return np.array(
        [
            max(
                1,
                math.floor(
                    _MEDIAN_LOTS * math.exp(_SIGMA_LOTS * normal.inv_cdf((k + 0.5) / 4096)) + 0.5
                ),
            )
            for k in range(4096)
        ],
        np.int64,
    )


class _Draws(NamedTuple):
    """What chance says about each message, whether or not the message turns out to need it."""

    kind: list[int]
    side: list[int]
    with_regime: list[bool]
    depth: list[int]
    lots: list[int]
    pick: list[int]
    through: list[int]


def _draws(spec: Spec) -> _Draws:
    count = spec.prefill + spec.timed
    kind, side, depth, lots, pick, through = (
        _words(spec.seed, stream, count) for stream in range(1, 7)
    )
    flow = (side >> np.uint64(43)) & np.uint64(_ONE - 1)
    return _Draws(
        kind=(kind >> np.uint64(44)).tolist(),
        side=(side >> np.uint64(63)).tolist(),
        with_regime=(flow < np.uint64(_WITH_REGIME)).tolist(),
        depth=np.searchsorted(_depth_thresholds(), depth >> np.uint64(11), side="right").tolist(),
        lots=_lots_table()[(lots >> np.uint64(52)).astype(np.int64)].tolist(),
        pick=(pick >> np.uint64(32)).tolist(),
        through=(through >> np.uint64(62)).tolist(),
    )


class _LiveBook:
    """Who rests where: just enough to say which cancel is possible and what trades. Cancelled
    orders leave late."""

    def __init__(self) -> None:
        self.open_lots: list[int] = []  # By order id; 0 once it is gone.
        self.price_tick: list[int] = []
        self.side: list[int] = []
        self.live: list[int] = []  # Live ids in an order of their own: what a cancel picks from.
        self.place: list[int] = []  # Where each id stands in `live`.
        # Keys are prices times (-1, 1)[side]: on either side the best level has the smallest key.
        self.queues: tuple[dict[int, deque[int]], dict[int, deque[int]]] = ({}, {})
        self.heaps: tuple[list[int], list[int]] = ([], [])

    def best_key(self, side: int) -> int | None:
        heap, queues, open_lots = self.heaps[side], self.queues[side], self.open_lots
        while heap:
            queue = queues[heap[0]]
            while queue and not open_lots[queue[0]]:
                queue.popleft()
            if queue:
                return heap[0]
            del queues[heappop(heap)]
        return None

    def touch(self) -> tuple[int | None, int | None]:
        bid, ask = self.best_key(0), self.best_key(1)
        return (None if bid is None else -bid), ask

    def remove(self, order_id: int) -> None:
        self.open_lots[order_id] = 0
        hole, last = self.place[order_id], self.live.pop()
        if last != order_id:
            self.live[hole] = last
            self.place[last] = hole

    def enter(self, side: int, price_tick: int, lots: int) -> list[tuple[int, int, int]]:
        """A new order under the next id: (maker, price, lots) of what it trades; the rest stays."""
        order_id = len(self.open_lots)
        open_lots, other = self.open_lots, 1 - side
        limit_key = price_tick if side == 0 else -price_tick
        trades = []
        while lots:
            key = self.best_key(other)
            if key is None or key > limit_key:
                break
            maker = self.queues[other][key][0]
            traded = min(lots, open_lots[maker])
            lots -= traded
            open_lots[maker] -= traded
            trades.append((maker, key if other else -key, traded))
            if not open_lots[maker]:
                self.remove(maker)
        open_lots.append(lots)
        self.price_tick.append(price_tick)
        self.side.append(side)
        self.place.append(len(self.live))
        if lots:
            self.live.append(order_id)
            key = price_tick if side else -price_tick
            queue = self.queues[side].get(key)
            if queue is None:
                queue = self.queues[side][key] = deque()
                heappush(self.heaps[side], key)
            queue.append(order_id)
        return trades


def _generate(spec: Spec) -> Stream:
    draws, book = _draws(spec), _LiveBook()
    rows: list[tuple[int, int, int, int, int, int]] = []
    fills: list[tuple[int, int, int, int, int]] = []
    regime, regime_left = 0, 0
    for message in range(spec.prefill + spec.timed):
        bid, ask = book.touch()
        live = len(book.live)
        feedback = _FEEDBACK * (spec.target - live) // spec.target
        feedback = max(-_MAX_FEEDBACK, min(_MAX_FEEDBACK, feedback))
        chance = draws.kind[message]
        prefill = message < spec.prefill
        marketable = not prefill and chance < _MARKETABLE
        if not prefill and live and chance >= _MARKETABLE + _ADD + feedback:
            order_id = book.live[draws.pick[message] * live >> 32]
            rows.append(
                (
                    CANCEL,
                    book.side[order_id],
                    0,
                    book.price_tick[order_id],
                    book.open_lots[order_id],
                    order_id,
                )
            )
            book.remove(order_id)
            continue
        if regime_left == 0:
            regime, regime_left = 1 - regime, _REGIME_ORDERS
        regime_left -= 1
        if marketable:
            side = regime if draws.with_regime[message] else 1 - regime
            offset, opposite = draws.through[message], (bid if side else ask)
            reference = spec.mid_tick if opposite is None else opposite
        else:
            side = draws.side[message]
            offset = -1 - draws.depth[message]
            opposite, own = (bid, ask) if side else (ask, bid)
            outward = -1 if side else 1
            if opposite is not None:
                reference = opposite
            else:
                reference = spec.mid_tick if own is None else own + outward
        price_tick = reference - offset if side else reference + offset
        lots = draws.lots[message]
        order_id = len(book.open_lots)
        rows.append((ADD, side, int(marketable), price_tick, lots, order_id))
        fills.extend(
            (message, maker, order_id, tick, traded)
            for maker, tick, traded in book.enter(side, price_tick, lots)
        )
    return Stream(np.array(rows, ROW_DTYPE), np.array(fills, FILL_ROW_DTYPE))
