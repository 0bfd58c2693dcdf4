"""The orders and levels behind a LOBSTER file, and the messages about them as they are written.

Compiled code on plain arrays. Knows how orders rest, leave and are written; which of them do is
`lobster_window`'s business.

Bids and asks are treated alike by *key*: the tick of a bid, minus the tick of an ask. Of two keys
of a side the higher is the better price; a bid and an ask cross when their keys sum to 0 or more.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.events import Origin
from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.model.sources.base import FEED_DTYPE, OWN_IDS

# Without counted references to arrays, which cost more than all the work of a row.
compiled = njit(nogil=True, error_model="numpy", no_rewrites=True, _nrt=False)
inlined = njit(forceinline=True, nogil=True, error_model="numpy", no_rewrites=True, _nrt=False)

# An index that cannot be negative: numpy's rule for one that is would be looked after each time.
U = np.uint64

# Compiled code takes plain integers for constants.
OBSERVED, OPENING, INFERRED = int(Origin.OBSERVED), int(Origin.OPENING), int(Origin.INFERRED)
LIMIT, CANCEL, _REDUCE = int(Kind.LIMIT), int(Kind.CANCEL), int(Kind.REDUCE)
REPLACE, AUCTION, UNCROSS = int(Kind.REPLACE), int(Kind.AUCTION), int(Kind.UNCROSS)
GTC, IOC, LOSE_PLACE = int(TimeInForce.GTC), int(TimeInForce.IOC), int(Flag.LOSE_PLACE)
_OWN_IDS = OWN_IDS
OUT_WORDS = FEED_DTYPE.itemsize // 8


# Scalars of a window.
N_OUT = 0  # messages written
NOW = 1  # time_ns and row of what is being written
ROW = 2
NEXT_OWN = 3  # the next id of our own
FREE = 4  # first free order slot of the list, 0: none
USED = 5  # order slots handed out so far, slot 0 (nobody) included
LIVE = 6
N_LEVELS = 7  # 2 words
BOUND = 9  # 2 words: the feed's last row shows all that is at this key or better
IN_AUCTION = 11
TAKEN = 12  # lots that the aggressive order being put together has taken, at this worst key
WORST = 13
PARTIAL = 14  # the order that it has taken only a part of, 0: none
N_TRUTH = 15
RULE = 16  # what is broken, and where: code, row, side, level, and what the window has there
BROKEN_ROW = 17
BROKEN_SIDE = 18
BROKEN_LEVEL = 19
HAS_KEY = 20
HAS_LOTS = 21
HEAD_WORDS = 24

# Columns of an order; its level's queue runs from head to tail along NEXT.
ID, LOTS, KEY, SIDE, PREVIOUS, NEXT = range(6)
ORDER_WORDS = 6
# Columns of a level. KEY and LOTS as above. The best level of a side is its last.
HEAD, TAIL = 2, 3
LEVEL_KEY, LEVEL_LOTS = 0, 1

# Where a side shows fewer levels than the file has room for, all of it is shown.
NO_BOUND = -(2**62)


class Window(NamedTuple):
    """All that is known between two rows. The arrays are changed in place."""

    head: np.ndarray  # int64 [HEAD_WORDS]
    orders: np.ndarray  # int64 [slots, ORDER_WORDS]
    ids: (
        np.ndarray
    )  # int64 [a power of two, 2]: feed id and slot, linear probing, at most half full
    levels: np.ndarray  # int64 [2, room, 4]
    reasons: np.ndarray  # int64: how often what has happened
    out: np.ndarray  # int64: the words of FEED_DTYPE rows
    truth: np.ndarray  # int64 [rows, 2]: after how many messages which row's book stands


def new_window(reasons: int) -> Window:
    """An empty window that counts by so many reasons."""
    slots = 1 << 12
    head = np.zeros(HEAD_WORDS, np.int64)
    head[NEXT_OWN] = OWN_IDS
    head[USED] = 1
    head[BOUND : BOUND + 2] = NO_BOUND
    return Window(
        head,
        np.zeros((slots, ORDER_WORDS), np.int64),
        np.zeros((4 * slots, 2), np.int64),
        np.zeros((2, 1 << 10, 4), np.int64),
        np.zeros(reasons, np.int64),
        np.zeros(0, np.int64),
        np.zeros((0, 2), np.int64),
    )


def with_room(w: Window, n_rows: int, levels: int, batch: int) -> Window:
    """The same window, with room to go on for at least a row, and for `n_rows` truths."""
    live = int(w.head[LIVE])
    orders, ids, sides, out, truth = w.orders, w.ids, w.levels, w.out, w.truth
    if w.head[LIVE] + 4 * (levels + 2) > len(orders) // 2:
        orders = np.zeros((2 * len(orders) + 8 * (levels + 2), ORDER_WORDS), np.int64)
        orders[: len(w.orders)] = w.orders
        ids = np.zeros((1 << (2 * len(orders) - 1).bit_length(), 2), np.int64)
        _copy_ids(w.ids, ids)
    if w.head[N_LEVELS : N_LEVELS + 2].max() + 4 * (levels + 2) > sides.shape[1] // 2:
        sides = np.zeros((2, 2 * sides.shape[1] + 8 * (levels + 2), 4), np.int64)
        sides[:, : w.levels.shape[1]] = w.levels
    room = max(batch, 4 * _row_room(live, levels))
    if len(out) < room * OUT_WORDS:
        out = np.zeros(room * OUT_WORDS, np.int64)
        out[: len(w.out)] = w.out
    if len(truth) < n_rows:
        truth = np.zeros((n_rows, 2), np.int64)
    return w._replace(orders=orders, ids=ids, levels=sides, out=out, truth=truth)


# Levels -------------------------------------------------------------------------------------------


@inlined
def key_of(side, tick):
    return np.int64(tick) if side == 0 else -np.int64(tick)


@inlined
def level_at(w, side, key):
    """The place of a level in its side, -1 if there is none. O(levels that are better)."""
    p = w.head[U(N_LEVELS + side)] - 1
    while p >= 0 and w.levels[U(side), U(p), LEVEL_KEY] > key:
        p -= 1
    return p if p >= 0 and w.levels[U(side), U(p), LEVEL_KEY] == key else np.int64(-1)


@inlined
def crossed(w):
    bids, asks = w.head[N_LEVELS], w.head[N_LEVELS + 1]
    if bids == 0 or asks == 0:
        return False
    return w.levels[0, U(bids - 1), LEVEL_KEY] + w.levels[1, U(asks - 1), LEVEL_KEY] >= 0


@inlined
def remove_better(w, side, key, reason):
    """Cancel all levels at `key` or better: a message shows that they are gone."""
    p = w.head[U(N_LEVELS + side)] - 1
    while p >= 0 and w.levels[U(side), U(p), LEVEL_KEY] >= key:
        remove_level(w, side, p, reason)
        p -= 1


@inlined
def remove_level(w, side, p, reason):
    slot = w.levels[U(side), U(p), HEAD]
    while slot != 0:
        following = w.orders[U(slot), NEXT]
        w.reasons[U(reason)] += 1
        cancel(w, INFERRED, slot, w.orders[U(slot), LOTS])
        slot = following


# Orders -------------------------------------------------------------------------------------------


@inlined
def rest(w, side, key, lots, order_id):
    """Put an order at the back of its level; returns its slot."""
    head, levels = w.head, w.levels
    slot = head[FREE]
    if slot != 0:
        head[FREE] = w.orders[U(slot), NEXT]
    else:
        slot = head[USED]
        head[USED] += 1
    head[LIVE] += 1
    n = head[U(N_LEVELS + side)]
    p = n
    while p > 0 and levels[U(side), U(p - 1), LEVEL_KEY] > key:
        p -= 1
    if p > 0 and levels[U(side), U(p - 1), LEVEL_KEY] == key:
        p -= 1
    else:
        for q in range(n, p, -1):
            for word in range(4):
                levels[U(side), U(q), U(word)] = levels[U(side), U(q - 1), U(word)]
        levels[U(side), U(p), LEVEL_KEY] = key
        levels[U(side), U(p), LEVEL_LOTS] = 0
        levels[U(side), U(p), HEAD] = 0
        levels[U(side), U(p), TAIL] = 0
        head[U(N_LEVELS + side)] += 1
    orders, tail = w.orders, levels[U(side), U(p), TAIL]
    orders[U(slot), ID], orders[U(slot), LOTS] = order_id, lots
    orders[U(slot), KEY], orders[U(slot), SIDE] = key, side
    orders[U(slot), PREVIOUS], orders[U(slot), NEXT] = tail, 0
    if tail != 0:
        orders[U(tail), NEXT] = slot
    else:
        levels[U(side), U(p), HEAD] = slot
    levels[U(side), U(p), TAIL] = slot
    levels[U(side), U(p), LEVEL_LOTS] += lots
    if order_id < _OWN_IDS:
        put_id(w.ids, order_id, slot)
    return slot


@inlined
def add_own(w, origin, side, key, lots):
    """Write and put in place an order of our own; returns its slot."""
    order_id = w.head[NEXT_OWN]
    w.head[NEXT_OWN] += 1
    emit(w, origin, LIMIT, side, GTC, 0, key, lots, order_id)
    return rest(w, side, key, lots, order_id)


@inlined
def cancel(w, origin, slot, lots):
    """Write and carry out that lots of an order leave."""
    # The engine still has what the aggressive order at work will take of it.
    whole = lots == w.orders[U(slot), LOTS] and slot != w.head[PARTIAL]
    kind = CANCEL if whole else _REDUCE
    side, key, order_id = w.orders[U(slot), SIDE], w.orders[U(slot), KEY], w.orders[U(slot), ID]
    emit(w, origin, kind, side, GTC, 0, key, lots, order_id)
    take(w, slot, lots)


@inlined
def take(w, slot, lots):
    """Lots of an order are gone: the order with its last lot, the level with its last order."""
    head, orders, levels = w.head, w.orders, w.levels
    side = orders[U(slot), SIDE]
    p = level_at(w, side, orders[U(slot), KEY])
    orders[U(slot), LOTS] -= lots
    levels[U(side), U(p), LEVEL_LOTS] -= lots
    if orders[U(slot), LOTS] > 0:
        return
    before, behind = orders[U(slot), PREVIOUS], orders[U(slot), NEXT]
    if before != 0:
        orders[U(before), NEXT] = behind
    else:
        levels[U(side), U(p), HEAD] = behind
    if behind != 0:
        orders[U(behind), PREVIOUS] = before
    else:
        levels[U(side), U(p), TAIL] = before
    if orders[U(slot), ID] < _OWN_IDS:
        drop_id(w.ids, orders[U(slot), ID])
    orders[U(slot), NEXT] = head[FREE]
    head[FREE] = slot
    head[LIVE] -= 1
    if head[PARTIAL] == slot:
        head[PARTIAL] = 0
    if levels[U(side), U(p), HEAD] == 0:
        n = head[U(N_LEVELS + side)] - 1
        for q in range(p, n):
            for word in range(4):
                levels[U(side), U(q), U(word)] = levels[U(side), U(q + 1), U(word)]
        head[U(N_LEVELS + side)] = n


@inlined
def first_anonymous(w, side, p):
    """The first order of a level whose feed id is not known, 0 if there is none."""
    slot = w.levels[U(side), U(p), HEAD]
    while slot != 0 and w.orders[U(slot), ID] < _OWN_IDS:
        slot = w.orders[U(slot), NEXT]
    return slot


@inlined
def anonymous(w, side, p, lots):
    """The anonymous order that lots are cancelled from: one of that size, or the last; 0: none."""
    found = np.int64(0)
    slot = w.levels[U(side), U(p), HEAD]
    while slot != 0:
        if w.orders[U(slot), ID] >= _OWN_IDS:
            found = slot
            if w.orders[U(slot), LOTS] == lots:
                break
        slot = w.orders[U(slot), NEXT]
    return found


@inlined
def likeliest(w, side, p, lots):
    """The order of a level that has left unseen: the youngest of that size, or the youngest."""
    slot = w.levels[U(side), U(p), TAIL]
    while slot != 0 and w.orders[U(slot), LOTS] != lots:
        slot = w.orders[U(slot), PREVIOUS]
    return slot if slot != 0 else w.levels[U(side), U(p), TAIL]


@inlined
def _home(ids, order_id):
    return ((order_id * -7046029254386353131) >> 20) & (len(ids) - 1)


@inlined
def find_id(w, order_id):
    """Where an id stands in the table, -1 if no order of the window has it."""
    at = _home(w.ids, order_id)
    while w.ids[U(at), 0] != 0:
        if w.ids[U(at), 0] == order_id:
            return at
        at = (at + 1) & (len(w.ids) - 1)
    return np.int64(-1)


@inlined
def put_id(ids, order_id, slot):
    at = _home(ids, order_id)
    while ids[U(at), 0] != 0:
        at = (at + 1) & (len(ids) - 1)
    ids[U(at), 0], ids[U(at), 1] = order_id, slot


@inlined
def drop_id(ids, order_id):
    """Take an id out, and move those behind it up, so that no search stops short of one."""
    mask = len(ids) - 1
    hole = _home(ids, order_id)
    while ids[U(hole), 0] != order_id:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        if ids[U(at), 0] == 0:
            break
        if (at - _home(ids, ids[U(at), 0])) & mask >= (at - hole) & mask:
            ids[U(hole), 0], ids[U(hole), 1] = ids[U(at), 0], ids[U(at), 1]
            hole = at
    ids[U(hole), 0], ids[U(hole), 1] = 0, 0


@njit(cache=True)
def _copy_ids(old, new):
    for at in range(len(old)):
        if old[U(at), 0] != 0:
            put_id(new, old[U(at), 0], old[U(at), 1])


# Room ---------------------------------------------------------------------------------------------


def _row_room(live, levels):
    """The most messages that one row can make: each order moved and cancelled, each level added."""
    return 2 * live + 8 * (levels + 2)


_compiled_row_room = inlined(_row_room)


@inlined
def has_room(w, levels, factor):
    head = w.head
    added = 2 * (levels + 2)
    if head[LIVE] + added >= len(w.orders):
        return False
    if max(head[N_LEVELS], head[N_LEVELS + 1]) + added >= w.levels.shape[1]:
        return False
    left = len(w.out) // OUT_WORDS - head[N_OUT]
    return left >= factor * _compiled_row_room(head[LIVE], levels)


@inlined
def emit(w, origin, kind, side, tif, flags, key, lots, order_id):
    """Write one FEED_DTYPE row, word by word as `MESSAGE_DTYPE` lays it out."""
    o = w.head[N_OUT] * OUT_WORDS
    w.head[N_OUT] += 1
    w.out[U(o)] = w.head[NOW]
    w.out[U(o + 1)] = w.head[ROW]
    w.out[U(o + 2)] = kind | (side << 8) | (tif << 16) | (np.int64(flags) << 32)
    w.out[U(o + 3)] = (key if side == 0 else -key) << 32
    w.out[U(o + 4)] = lots
    w.out[U(o + 5)] = order_id
    w.out[U(o + 6)] = origin
