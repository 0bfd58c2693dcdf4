"""The fills among the rows of Bitstamp's orders: which two rows are one, and which are one trade.

A draft is a row on its way to a record. Knows no file; `bitstamp` drafts the rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from mtsim.model.sources.bitstamp_rows import Trade
from mtsim.model.sources.ledger_records import Op

# How far apart the rows of one fill are at most.
TOGETHER_NS = 2 * 10**9
NEAR_ROWS = 40


@dataclass
class Open:
    """An order as the feed has shown it last; `lots` None: it was placed before the file began."""

    side: int
    tick: int
    lots: int | None
    placed: int = 0
    """The row in which it came to its price; 0: before the file began."""


@dataclass
class Draft:
    """A record in the making. `lots` None: the trade will tell."""

    time_ns: int
    row: int
    op: Op
    id: int
    side: int
    tick: int
    lots: int | None
    taker: int = 0
    fill: bool = False
    event: str = ""
    matching: str = ""
    left: int = 0
    """What the order has after the row."""
    before: Open | None = None
    """What it would be after a mere fill, if that is known."""
    placed: int = 0
    extra: bool = False
    """No row of the file says this, but the rows before and after one do."""
    void: bool = False
    """The row is about an order that had not yet been there."""


@dataclass
class Pending:
    """What is read and not yet sent: the rows of a fill may lie on either side of a cut."""

    drafts: list[Draft] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)


def cut(pending: Pending) -> tuple[Pending, Pending]:
    """What no later row can belong to, and the rest: cut where the longest pause is."""
    drafts = pending.drafts
    times = np.array([draft.time_ns for draft in drafts])
    latest = int(np.searchsorted(times, times[-1] - 2 * TOGETHER_NS))
    if latest < 2:
        return Pending(), pending
    at = 1 + int(np.argmax(np.diff(times[:latest])))
    edge = (drafts[at - 1].time_ns + drafts[at].time_ns) // 2
    split = bisect_left(pending.trades, edge, key=lambda trade: trade.time_ns)
    return (
        Pending(drafts[:at], pending.trades[:split]),
        Pending(drafts[at:], pending.trades[split:]),
    )


def _join(maker: Draft, taker: Draft, gone: set[int]) -> None:
    """The fill's two rows become one, at the place of the first of them."""
    maker.taker = taker.id
    gone.add(id(taker))


def paired_by_trade(ready: Pending, trades_told: bool) -> list[Draft]:
    """The drafts in which each fill is one, and what shrank without a trade has left.

    The rows of a fill lie close to the line of the trade, on either side of it, and lose its lots.
    Where the file tells no trades, two orders of either side that lose the same lots are a fill.
    """
    drafts, gone = ready.drafts, set[int]()
    fills = [(k, draft) for k, draft in enumerate(drafts) if draft.fill]
    numbers = [draft.row for _, draft in fills]
    free = {id(draft) for _, draft in fills}
    for trade in ready.trades:
        first = bisect_left(numbers, trade.row - NEAR_ROWS)
        last = bisect_right(numbers, trade.row + NEAR_ROWS)
        near = [
            draft
            for _, draft in fills[first:last]
            if id(draft) in free
            and (draft.lots == trade.lots or (draft.lots is None and draft.tick == trade.tick))
            and abs(draft.time_ns - trade.time_ns) <= TOGETHER_NS
        ]
        # Trades that came before have used up the rows before them.
        near.sort(key=lambda draft: (draft.row > trade.row, abs(draft.row - trade.row)))
        bid = next((draft for draft in near if draft.side == 0), None)
        ask = next((draft for draft in near if draft.side == 1), None)
        for draft in (bid, ask):
            if draft is not None:
                free.discard(id(draft))
                draft.lots = trade.lots
        if bid is not None and ask is not None:
            # Trades are at the price of the order that rested.
            by_price = (bid.tick == trade.tick) != (ask.tick == trade.tick)
            rested = bid.tick == trade.tick if by_price else bid.placed < ask.placed
            _join(*((bid, ask) if rested else (ask, bid)), gone)
    left = [draft for _, draft in fills if id(draft) in free]
    for one, other in pairwise(left):
        if (
            not trades_told
            and not {id(one), id(other)} & gone
            and one.side != other.side
            and one.lots == other.lots
            and one.taker == 0
            and other.time_ns - one.time_ns <= TOGETHER_NS
        ):
            _join(*((one, other) if one.placed <= other.placed else (other, one)), gone)
            free -= {id(one), id(other)}
    for draft in left:
        if id(draft) in free:
            draft.op, draft.lots = Op.CANCEL, draft.lots or 0
    return [draft for draft in drafts if id(draft) not in gone]


def paired_by_event(drafts: list[Draft], takers: frozenset[str]) -> list[Draft]:
    """The drafts in which each fill is one, and those of one time in the order they happened in.

    An order is created before it trades, a taker's fills leave it less and less.
    """
    by_event = {draft.event: draft for draft in drafts if draft.fill and draft.event}
    gone = set[int]()
    for draft in by_event.values():
        other = by_event.get(draft.matching)
        if other is None or other.matching != draft.event:
            continue
        takes = draft.event in takers if takers else draft.id > other.id
        if not takes:
            _join(draft, other, gone)
            # Some orders follow the price as they trade, and some change their size with it.
            known = other.before
            if known is not None and (known.tick, known.lots) != (other.tick, other.left):
                drafts.append(
                    replace(other, op=Op.SHOW, lots=other.left, taker=0, fill=False, extra=True)
                )
    for draft in drafts:
        if draft.fill and draft.taker == 0 and id(draft) not in gone:
            draft.op = Op.CANCEL
    left = {id(draft): draft.left for draft in drafts}
    for draft in by_event.values():
        if draft.taker:
            left[id(draft)] = by_event[draft.matching].left

    def order(draft: Draft) -> tuple[int, int, int, int]:
        if draft.op == Op.ADD:
            return draft.time_ns, 0, draft.id, 0
        if draft.op == Op.FILL or draft.extra:
            taker = draft.taker or draft.id
            return draft.time_ns, 1, taker, -2 * left[id(draft)] + draft.extra
        return draft.time_ns, 2, draft.row, 0

    return sorted((draft for draft in drafts if id(draft) not in gone), key=order)


@dataclass
class _Sweep:
    """The fills of one taker so far, in one place among the drafts."""

    place: int
    time_ns: int
    last_ns: int


def swept(drafts: list[Draft], apart_ns: int) -> list[Draft]:
    """The drafts with all fills of a taker where its first one is, and at its time.

    Not so where another row about one of the two orders lies between: it would come too late.
    """
    places: list[list[Draft]] = []
    sweeps: dict[int, _Sweep] = {}
    touched: dict[int, int] = {}
    for draft in drafts:
        if not draft.taker:
            touched[draft.id] = len(places)
            places.append([draft])
            continue
        sweep = sweeps.get(draft.taker)
        if (
            sweep is not None
            and draft.time_ns - sweep.last_ns <= apart_ns
            and max(touched.get(draft.id, -1), touched.get(draft.taker, -1)) < sweep.place
        ):
            sweep.last_ns, draft.time_ns = draft.time_ns, sweep.time_ns
            places[sweep.place].append(draft)
        else:
            sweeps[draft.taker] = _Sweep(len(places), draft.time_ns, draft.time_ns)
            places.append([draft])
    return [draft for place in places for draft in place]
