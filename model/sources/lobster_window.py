"""Row by row through a LOBSTER file: what each message does to the book, and the book row after it.

The window follows the messages; where book rows are given, each must follow from the row before and
its message, as far as the row before showed the book, and what lies beyond is taken from the row.
Compiled; the orders are `lobster_orders`. Knows no file and no text but the names of what it finds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numba import njit

from mtsim.model.sources import lobster_orders, lobster_rows
from mtsim.model.sources.lobster_orders import (
    AUCTION,
    BOUND,
    BROKEN_LEVEL,
    BROKEN_ROW,
    BROKEN_SIDE,
    GTC,
    HAS_KEY,
    HAS_LOTS,
    HEAD,
    ID,
    IN_AUCTION,
    INFERRED,
    IOC,
    KEY,
    LEVEL_KEY,
    LEVEL_LOTS,
    LIMIT,
    LOSE_PLACE,
    LOTS,
    N_LEVELS,
    N_OUT,
    N_TRUTH,
    NEXT,
    NEXT_OWN,
    NO_BOUND,
    NOW,
    OBSERVED,
    OPENING,
    PARTIAL,
    PREVIOUS,
    REPLACE,
    ROW,
    RULE,
    SIDE,
    TAIL,
    TAKEN,
    UNCROSS,
    WORST,
    add_own,
    anonymous,
    cancel,
    crossed,
    emit,
    find_id,
    first_anonymous,
    has_room,
    key_of,
    level_at,
    likeliest,
    remove_better,
    remove_level,
    rest,
    take,
)
from mtsim.model.sources.lobster_rows import (
    ADD,
    DELETE,
    EXECUTE,
    EXECUTE_HIDDEN,
    HALT,
    HALTED,
    REDUCE,
    TRADING,
)

DROPPED = ("hidden_execution", "cross", "halt_marker", "unknown_order")
REPAIRED = (
    "level_entered",  # lots of a price that came into the window
    "level_grew",  # lots that had come to a price while it was out of the window
    "level_shrank",  # lots that had left it meanwhile
    "level_gone",  # orders of a price that had become empty meanwhile
    "price_passed",  # orders that a later message shows to be gone: it passed their price
    "maker_unseen",  # an order nobody announced, put in place to be executed
    "queue_order",  # orders sent behind the one that the feed executes before them
    "other_order",  # lots taken from another order of the price than the unknown one that is named
    "order_split",  # aggressive orders that had to be cut in two
    "executed_in_halt",  # orders of a halt's cross, which leave as cancels
)
REASONS = DROPPED + REPAIRED
_HIDDEN, _CROSS, _HALT_MARKER, _UNKNOWN = range(4)
(
    _ENTERED,
    _GREW,
    _SHRANK,
    _GONE,
    _PASSED,
    _UNSEEN,
    _QUEUE,
    _OTHER,
    _SPLIT,
    _IN_HALT,
) = range(4, len(REASONS))

BROKEN = {
    1: "the book row does not follow from the row before it and the message",
    2: "an execution must be at the best price",
    3: "order id is added twice",
    4: "more lots leave the price than the row before it shows there",
    5: "the best bid must be below the best ask",
    6: "trading resumes with a crossed book",
}
NOT_FOLLOWING, _NOT_BEST, _TWICE, _TOO_MANY, CROSSED, _RESUMES_CROSSED = range(1, 7)


@njit
def _ahead(w, messages, ticks, lots, first_row, start, ended):
    head = w.head
    n = len(messages.time_ns)
    with_book = len(ticks) > 0
    n_levels = ticks.shape[2]
    i = start
    while i < n:
        if not has_room(w, n_levels, 2):
            break
        end = _burst_end(messages, i, n) if head[IN_AUCTION] == 0 else i
        if end == n and not ended:
            break
        first = i
        last = max(end, i + 1)
        head[TAKEN], head[PARTIAL] = 0, 0
        while i < last and (i == first or has_room(w, n_levels, 1)):
            head[NOW], head[ROW] = messages.time_ns[first], first_row + first
            if end > first and messages.type[i] == EXECUTE and head[IN_AUCTION] == 0:
                _execute(w, messages, i, with_book)
            else:
                head[ROW] = first_row + i
                _apply(w, messages, i, with_book)
            if head[RULE] == 0 and with_book:
                _hold_against(w, ticks, lots, i)
            if head[RULE] != 0:
                head[BROKEN_ROW] = i
                return i
            i += 1
        head[NOW], head[ROW] = messages.time_ns[first], first_row + first
        if i < last:
            w.reasons[_SPLIT] += 1
        _send(w, messages.side[first])
        if with_book:
            w.truth[head[N_TRUTH], 0], w.truth[head[N_TRUTH], 1] = head[N_OUT], i - 1
            head[N_TRUTH] += 1
    return i


# One row ------------------------------------------------------------------------------------------


@njit
def _burst_end(messages, i, n):
    """Where the rows of one aggressive order end that begins at i; i if none begins there."""
    if messages.type[i] != EXECUTE:
        return i
    worst = messages.tick[i]
    side = messages.side[i]
    k = i + 1
    while k < n and messages.time_ns[k] == messages.time_ns[i]:
        # A hidden order that trades between two visible ones trades with the same aggressor.
        if messages.type[k] != EXECUTE_HIDDEN:
            if messages.type[k] != EXECUTE or messages.side[k] != side:
                break
            if messages.tick[k] > worst if side == 0 else messages.tick[k] < worst:
                break
            worst = messages.tick[k]
        k += 1
    return k


@njit
def _apply(w, messages, i, with_book):
    """One row that is no visible execution, or one in a halt."""
    head = w.head
    kind, side = messages.type[i], messages.side[i]
    if kind == EXECUTE_HIDDEN:
        w.reasons[_HIDDEN] += 1
    elif kind == HALT:
        w.reasons[_HALT_MARKER] += 1
        _halt(w, messages.tick[i], with_book)
    elif kind == ADD:
        key = key_of(side, messages.tick[i])
        if not with_book and head[IN_AUCTION] == 0:
            remove_better(w, 1 - side, -key, _PASSED)
        if find_id(w, messages.order_id[i]) >= 0:
            head[RULE] = _TWICE
            return
        emit(w, OBSERVED, LIMIT, side, GTC, 0, key, messages.lots[i], messages.order_id[i])
        rest(w, side, key, messages.lots[i], messages.order_id[i])
    elif kind in (REDUCE, DELETE, EXECUTE):
        if kind == EXECUTE:
            w.reasons[_IN_HALT] += 1
        _leave(w, messages, i, with_book, INFERRED if kind == EXECUTE else OBSERVED)
    else:
        w.reasons[_CROSS] += 1


@njit
def _halt(w, price, with_book):
    """The marker of a halt: orders are collected until trading resumes."""
    head = w.head
    if price == HALTED and head[IN_AUCTION] == 0:
        head[IN_AUCTION] = 1
        emit(w, OBSERVED, AUCTION, 0, GTC, 0, 0, 0, 0)
    elif price == TRADING and head[IN_AUCTION] == 1:
        while crossed(w):
            if with_book:
                head[RULE] = _RESUMES_CROSSED
                return
            remove_level(w, 0, head[N_LEVELS] - 1, _PASSED)
        head[IN_AUCTION] = 0
        # Nothing crosses, so nothing trades and the reference price does not matter.
        emit(w, OBSERVED, UNCROSS, 0, GTC, 0, 0, 0, 0)


@njit
def _leave(w, messages, i, with_book, origin):
    """Lots of a resting order go without a trade."""
    head = w.head
    side, lots = messages.side[i], messages.lots[i]
    key = key_of(side, messages.tick[i])
    at = find_id(w, messages.order_id[i])
    slot = w.ids[at, 1] if at >= 0 else 0
    # A cross has one price, whatever the prices of its orders.
    if messages.type[i] == EXECUTE and slot != 0:
        key = w.orders[slot, KEY]
    if slot != 0 and w.orders[slot, KEY] == key and w.orders[slot, SIDE] == side:
        there = w.orders[slot, LOTS]
        part = there if messages.type[i] == DELETE and not with_book else min(lots, there)
        cancel(w, origin, slot, part)
        if not with_book or part == lots:
            return
        lots -= part
    p = level_at(w, side, key)
    if not with_book or (p < 0 and key < head[BOUND + side]):
        w.reasons[_UNKNOWN] += 1
        return
    if p < 0 or w.levels[side, p, LEVEL_LOTS] < lots:
        head[RULE] = _TOO_MANY
        return
    while lots > 0:
        slot = anonymous(w, side, p, lots)
        if slot == 0:
            w.reasons[_OTHER] += 1
            slot = likeliest(w, side, p, lots)
        part = min(lots, w.orders[slot, LOTS])
        cancel(w, origin, slot, part)
        lots -= part


@njit
def _execute(w, messages, i, with_book):
    """Add a visible execution to the aggressive order that is being put together."""
    head = w.head
    side, lots = messages.side[i], messages.lots[i]
    key = key_of(side, messages.tick[i])
    if not with_book:
        remove_better(w, side, key + 1, _PASSED)
        remove_better(w, 1 - side, -key, _PASSED)
    p = head[N_LEVELS + side] - 1
    if with_book:
        if p < 0 or w.levels[side, p, LEVEL_KEY] != key:
            head[RULE] = _NOT_BEST
            return
        if w.levels[side, p, LEVEL_LOTS] < lots:
            head[RULE] = _TOO_MANY
            return
    at = find_id(w, messages.order_id[i])
    while lots > 0:
        slot = w.ids[at, 1] if at >= 0 else 0
        if slot != 0 and w.orders[slot, KEY] == key and w.orders[slot, SIDE] == side:
            pass
        else:
            p = level_at(w, side, key)
            slot = first_anonymous(w, side, p) if p >= 0 else 0
            if slot == 0 and with_book:
                w.reasons[_OTHER] += 1
                slot = w.levels[side, p, HEAD]
            elif slot == 0:
                w.reasons[_UNSEEN] += 1
                slot = add_own(w, INFERRED, side, key, lots)
        at = -1
        _bring_to_front(w, side, key, slot)
        part = min(lots, w.orders[slot, LOTS])
        head[PARTIAL] = slot
        take(w, slot, part)
        head[TAKEN] += part
        head[WORST] = key
        lots -= part


@njit
def _send(w, side):
    """Write the aggressive order that has been put together, if there is one."""
    head = w.head
    if head[TAKEN] > 0:
        order_id = head[NEXT_OWN]
        head[NEXT_OWN] += 1
        # It stands on the other side, so that its price is the worst that it has paid.
        emit(w, OBSERVED, LIMIT, 1 - side, IOC, 0, -head[WORST], head[TAKEN], order_id)
    head[TAKEN], head[PARTIAL] = 0, 0


@njit
def _bring_to_front(w, side, key, slot):
    """Send every order ahead of this one behind it: the feed shows that they came later."""
    head = w.head
    p = level_at(w, side, key)
    if head[PARTIAL] != 0 and head[PARTIAL] == w.levels[side, p, HEAD] and head[PARTIAL] != slot:
        # What it has of the first order it must take before that order moves.
        w.reasons[_SPLIT] += 1
        _send(w, side)
    while w.levels[side, p, HEAD] != slot:
        first = w.levels[side, p, HEAD]
        w.reasons[_QUEUE] += 1
        lots, order_id = w.orders[first, LOTS], w.orders[first, ID]
        emit(w, INFERRED, REPLACE, side, GTC, LOSE_PLACE, key, lots, order_id)
        following = w.orders[first, NEXT]
        w.levels[side, p, HEAD] = following
        w.orders[following, PREVIOUS] = 0
        tail = w.levels[side, p, TAIL]
        w.orders[tail, NEXT] = first
        w.orders[first, PREVIOUS], w.orders[first, NEXT] = tail, 0
        w.levels[side, p, TAIL] = first


# A book row ---------------------------------------------------------------------------------------


@njit
def _hold_against(w, ticks, lots, i):
    """Hold both sides against a book row, and take what lies beyond the last one's levels from it.

    Level for level the window must be the row up to the key that the row before ended with, where
    everything was known; behind it the row is right.
    """
    head = w.head
    if (
        head[IN_AUCTION] == 0
        and lots[i, 0, 0] > 0
        and lots[i, 1, 0] > 0
        and ticks[i, 0, 0] >= ticks[i, 1, 0]
    ):
        head[RULE] = CROSSED
        return
    for side in range(2):
        bound = head[BOUND + side]
        p = head[N_LEVELS + side] - 1
        for level in range(ticks.shape[2]):
            there = lots[i, side, level]
            key = key_of(side, ticks[i, side, level]) if there > 0 else np.int64(NO_BOUND)
            while p >= 0 and w.levels[side, p, LEVEL_KEY] > key:
                if w.levels[side, p, LEVEL_KEY] >= bound:
                    _break_at(w, side, level, p)
                    return
                remove_level(w, side, p, _GONE)
                p -= 1
            if there == 0:
                break
            if p >= 0 and w.levels[side, p, LEVEL_KEY] == key:
                more = there - w.levels[side, p, LEVEL_LOTS]
                if more != 0:
                    if key >= bound:
                        _break_at(w, side, level, p)
                        return
                    if more > 0:
                        w.reasons[_GREW] += 1
                        add_own(w, INFERRED, side, key, more)
                    else:
                        _shrink(w, side, p, -more)
                p -= 1
            elif key >= bound:
                _break_at(w, side, level, p)
                return
            else:
                w.reasons[_ENTERED] += 1
                add_own(w, INFERRED, side, key, there)
    _set_bounds(w, ticks, lots, i)


@njit
def _shrink(w, side, p, lots):
    """Lots of a level have left it unseen. The youngest orders go first: they are the likeliest."""
    while lots > 0:
        w.reasons[_SHRANK] += 1
        slot = likeliest(w, side, p, lots)
        part = min(lots, w.orders[slot, LOTS])
        cancel(w, INFERRED, slot, part)
        lots -= part


@njit
def _break_at(w, side, level, p):
    w.head[RULE] = NOT_FOLLOWING
    w.head[BROKEN_SIDE], w.head[BROKEN_LEVEL] = side, level
    w.head[HAS_KEY] = w.levels[side, p, LEVEL_KEY] if p >= 0 else 0
    w.head[HAS_LOTS] = w.levels[side, p, LEVEL_LOTS] if p >= 0 else 0


@njit
def _set_bounds(w, ticks, lots, i):
    """Take it from book row i how deep the book is shown."""
    last = ticks.shape[2] - 1
    for side in range(2):
        full = lots[i, side, last] > 0
        w.head[BOUND + side] = key_of(side, ticks[i, side, last]) if full else NO_BOUND


def _entry_points(sources: int):
    @njit(cache=True, nogil=True)
    def seed(w, before_ticks, before_lots, ticks, lots, time_ns, row):
        """Write and put in place the OPENING orders of a book, [2, L], one a level.

        The first of the book rows says how deep it is shown.
        """
        _ = sources
        w.head[NOW], w.head[ROW] = time_ns, row
        for side in range(2):
            for level in range(before_ticks.shape[1]):
                if before_lots[side, level] > 0:
                    key = key_of(side, before_ticks[side, level])
                    add_own(w, OPENING, side, key, before_lots[side, level])
        _set_bounds(w, ticks, lots, 0)

    @njit(cache=True, nogil=True)
    def follow(w, messages, ticks, lots, first_row, start, ended):
        """Follow rows from `start` on; `ticks` has no rows where the feed has no book.

        Writes messages to `w.out` and, for each book row that the engine will meet, how many
        messages stand before it to `w.truth`. Returns the rows that are done: all of them, or
        fewer where room is short, where the last ones may belong to an aggressive order that goes
        on in rows to come (unless the file has `ended`), or where row `head[BROKEN_ROW]` breaks
        `head[RULE]`.
        """
        _ = sources
        return _ahead(w, messages, ticks, lots, first_row, start, ended)

    return seed, follow


def _fingerprint() -> int:
    """63 bits that name the compiled sources: Numba's cache looks at this file only."""
    digest = hashlib.sha256()
    for file in (lobster_rows.__file__, lobster_orders.__file__, __file__):
        digest.update(Path(file).read_bytes())
    return int.from_bytes(digest.digest()[:8], "little") >> 1


seed, follow = _entry_points(_fingerprint())
