"""What a book has to cancel, counted once and kept up to date message by message.

Without a memo each mask looks at all orders of the book. With one, a message costs the levels that
it touches, and those that change their bin when the touch moves. A loop says what it executes:

    expect   before: the levels that the message may change are taken out of the counts
    learn    after: what they have become is put in again

Both may be left out, at the cost of counting the book anew: a memo knows how many messages its book
had executed. It cannot know that another book was put in this one's place: `MaskMemo.forget` is for
that. It holds no address, so a book may grow and move. What the counts allow is `recalled_masks`.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, cold, hot
from mtsim.engine.layout import (
    BEST,
    EMPTY_KEY,
    KEY,
    LOTS,
    MESSAGES,
    NEXT,
    ORDER_WORDS,
    ORDERS,
    OWNER,
    PREVIOUS,
    SECOND_AND_SIDE,
)
from mtsim.engine.messages import Kind, SelfTrade
from mtsim.engine.queries import slot_of
from mtsim.model import masks
from mtsim.model.actions import N_PLACES
from mtsim.model.book_codes import BookTables
from mtsim.model.candidates import (
    FIRST,
    LAST,
    MIDDLE,
    ONLY,
    is_background,
    level_at,
    level_below,
    level_from,
)
from mtsim.model.describe import key_of, open_lots
from mtsim.model.mask_layout import (
    CANCEL_UPPER,
    CHANGED,
    COUNTS,
    EXPECTS,
    HALF,
    IS_PART,
    LEVELS,
    LOTS_BOUNDS,
    N_CANCEL,
    N_LOTS,
    NAMED,
    NAMED_ID,
    NEIGHBOURS,
    NO_KEY,
    NO_WORST,
    ONE_MORE,
    SEEN,
    SIDE,
    STALE,
    TOTALS,
    TOUCH,
    TOUCHED,
    UNWRITTEN,
    WORST,
    first_row,
    lots_code_of,
    plan_of,
)

SOURCES = fingerprint(masks.SOURCES, Path(__file__).with_name("mask_layout.py"), Path(__file__))
"""For the entry points of loops that call the kernels."""

_LIMIT, _MARKET, _REPLACE = Kind.LIMIT.value, Kind.MARKET.value, Kind.REPLACE.value
_ALLOW = SelfTrade.ALLOW.value


class MaskMemo:
    """The memo of `n_worlds` books, for the ids of one tokenizer."""

    def __init__(self, tables: BookTables, n_worlds: int):
        self.plan = plan_of(tables)
        n_rows = 2 * len(tables.cancel_lower) * N_PLACES
        n_words = int(self.plan[COUNTS]) + n_rows * len(tables.lots_lower)
        self.words = np.zeros((n_worlds, n_words), np.int64)
        """What is known of each world."""
        self.tokens = np.zeros((n_worlds, len(tables.token_type)), np.bool_)
        """[n, V]: which ids each book allowed when that was last asked."""
        self.forget()

    def forget(self, worlds: np.ndarray | slice = slice(None)) -> None:
        """Count these books anew when next asked: after `Books.restore` and `Books.fork`."""
        self.words[worlds, SEEN] = STALE


# --- counting -------------------------------------------------------------------------------------


@hot
def _count_order(a32, r, slot, row, plan, words, step):
    if not is_background(a32, r + slot * ORDER_WORDS):
        return
    lots = open_lots(a32, r, slot)
    code = lots_code_of(plan, lots)
    least = plan[U(plan[LOTS_BOUNDS] + 2 * code)]
    words[U(plan[TOTALS] + row)] += step + (step * ONE_MORE if lots > 1 else 0)
    at = plan[COUNTS] + row * plan[N_LOTS] + code
    old = words[U(at)]
    new = old + step + (step * ONE_MORE if lots > max(least, 1) else 0)
    words[U(at)] = new
    if (old == 0) != (new == 0) or (old > HALF) != (new > HALF):
        words[U(CHANGED + (row >> 6))] |= 1 << (row & 63)


@hot
def _place_of(slot, head, tail):
    if slot == head:
        return ONLY if head == tail else FIRST
    return LAST if slot == tail else MIDDLE


@cold
def _count_queue(a32, r, level, row, plan, words, step):
    """Count the orders of a level in the rows from `row`, or with `step` -1 no longer."""
    head = np.int64(a32[U(level * 2)])
    tail = np.int64(a32[U(level * 2 + 1)])
    slot = head
    while slot != 0:
        order = r + slot * ORDER_WORDS
        _count_order(a32, r, slot, row + _place_of(slot, head, tail), plan, words, step)
        slot = np.int64(a32[U(order + NEXT)])


@cold
def _count_key(a32, a64, o, plan, words, side, key, step):
    """`_count_queue` of the level at a key, if there is one."""
    if key == NO_KEY:
        return
    level = level_at(a64, o, side, key)
    if level == 0 or a32[U(level * 2)] == 0:
        return
    row = first_row(plan, side, words[U(TOUCH + side)] - key)
    _count_queue(a32, (o + a64[U(o + ORDERS)]) * 2, level, row, plan, words, step)


@cold
def count_book(a32, a64, o, plan, words):
    """Count all of a book. O(orders)."""
    words[CHANGED:] = 0
    words[EXPECTS] = 0
    words[UNWRITTEN] = 1
    for side in range(2):
        key = a64[U(o + BEST + side)]
        words[U(TOUCH + side)] = key
        while key > EMPTY_KEY + side:
            _count_key(a32, a64, o, plan, words, side, key, 1)
            key = level_below(a64, o, side, key)
    words[SEEN] = a64[U(o + MESSAGES)]


@hot
def is_current(a64, o, words):
    """Whether a memo knows its book as it is."""
    return words[SEEN] == a64[U(o + MESSAGES)] and words[EXPECTS] == 0


# --- around a message -----------------------------------------------------------------------------


@cold
def expect(a32, a64, o, plan, words, message):
    """Take out of the counts what the next message may change. `learn` follows its execution.

    A message that is expected again, because its book had to make room, makes the memo stale. O(1)
    for an order that only joins or leaves, else O(orders of the levels that it may trade in).
    """
    what = message[0]
    kind = what & 255
    if not is_current(a64, o, words) or kind > _REPLACE:
        words[SEEN] = STALE
        return
    words[EXPECTS] = 1
    words[LEVELS] = NO_KEY
    words[LEVELS + 1] = NO_KEY
    words[WORST] = NO_WORST
    words[IS_PART] = 0
    words[NAMED] = 0
    r = (o + a64[U(o + ORDERS)]) * 2
    side = (what >> 8) & 255
    if kind <= _MARKET:
        if side > 1:
            return
        if kind == _LIMIT:
            words[LEVELS] = key_of(message, side)
    else:
        slot = slot_of(a64, o, r, message[3])
        if slot == 0:
            return
        order = r + slot * ORDER_WORDS
        side = np.int64(a32[U(order + SECOND_AND_SIDE)]) & 1
        words[LEVELS] = np.int64(a32[U(order + KEY)])
        words[NAMED] = slot
        if kind == _REPLACE and key_of(message, side) != words[LEVELS]:
            words[LEVELS + 1] = key_of(message, side)
    words[SIDE] = side
    if kind <= _MARKET or kind == _REPLACE:
        _expect_sweep(a32, a64, o, r, plan, words, message, side)
    if kind != _REPLACE and words[WORST] == NO_WORST:
        _expect_part(a32, a64, o, r, plan, words, message[3])
        return
    _count_key(a32, a64, o, plan, words, side, words[LEVELS], -1)
    _count_key(a32, a64, o, plan, words, side, words[LEVELS + 1], -1)


@cold
def _expect_part(a32, a64, o, r, plan, words, order_id):
    """Take out of one level what changes where an order joins it, or leaves it, or shrinks."""
    words[IS_PART] = 1
    words[NEIGHBOURS] = 0
    words[NEIGHBOURS + 1] = 0
    slot = words[NAMED]
    if slot != 0:
        words[NAMED_ID] = order_id
        words[NEIGHBOURS] = np.int64(a32[U(r + slot * ORDER_WORDS + PREVIOUS)])
        words[NEIGHBOURS + 1] = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
    elif words[LEVELS] != NO_KEY:
        level = level_at(a64, o, words[SIDE], words[LEVELS])
        if level != 0:
            words[NEIGHBOURS] = np.int64(a32[U(level * 2 + 1)])
    _count_part(a32, a64, o, r, plan, words, -1)


@cold
def _learn_part(a32, a64, o, r, plan, words):
    slot = words[NAMED]
    if slot != 0:
        if slot_of(a64, o, r, words[NAMED_ID]) != slot:
            words[NAMED] = 0
    elif words[LEVELS] != NO_KEY:
        level = level_at(a64, o, words[SIDE], words[LEVELS])
        if level != 0 and a32[U(level * 2 + 1)] != words[NEIGHBOURS]:
            words[NAMED] = np.int64(a32[U(level * 2 + 1)])
    _count_part(a32, a64, o, r, plan, words, 1)


@cold
def _count_part(a32, a64, o, r, plan, words, step):
    if words[LEVELS] == NO_KEY:
        return
    side = words[SIDE]
    level = level_at(a64, o, side, words[LEVELS])
    if level == 0 or a32[U(level * 2)] == 0:
        return
    head = np.int64(a32[U(level * 2)])
    tail = np.int64(a32[U(level * 2 + 1)])
    row = first_row(plan, side, words[U(TOUCH + side)] - words[LEVELS])
    for at in range(NEIGHBOURS, NAMED + 1):
        slot = words[U(at)]
        if slot != 0:
            _count_order(a32, r, slot, row + _place_of(slot, head, tail), plan, words, step)


@cold
def _expect_sweep(a32, a64, o, r, plan, words, message, side):
    """Take out the levels that an order may trade in: those that it crosses, until they show as
    many lots as it has."""
    opposite = 1 - side
    reach = key_of(message, side)
    lots = np.int64(np.int32(message[2]))
    owner = np.int64(np.int32(message[1]))
    trades_all = (message[0] >> 24) & 255 == _ALLOW
    key = a64[U(o + BEST + opposite)]
    while key > EMPTY_KEY + opposite and reach + key >= 0 and lots > 0:
        level = level_at(a64, o, opposite, key)
        _count_key(a32, a64, o, plan, words, opposite, key, -1)
        words[WORST] = key
        if trades_all:
            lots -= a64[U(level + 1)]
        else:
            lots -= _lots_of_others(a32, r, level, owner)
        key = level_below(a64, o, opposite, key)


@cold
def _lots_of_others(a32, r, level, owner):
    """What a level shows of orders that no self-trade prevention takes out."""
    lots = 0
    slot = np.int64(a32[U(level * 2)])
    while slot != 0:
        order = r + slot * ORDER_WORDS
        if a32[U(order + OWNER)] != owner:
            lots += np.int64(a32[U(order + LOTS)])
        slot = np.int64(a32[U(order + NEXT)])
    return lots


@cold
def learn(a32, a64, o, plan, words):
    """Count again what `expect` took out, and what another touch has put into other bins.

    As long as `expect`, and where the touch has moved, O(orders of the levels at edges of bins).
    """
    if words[SEEN] == STALE:
        return
    if words[EXPECTS] == 0 or a64[U(o + MESSAGES)] != words[SEEN] + 1:
        words[SEEN] = STALE
        return
    side = words[SIDE]
    for shifted in range(2):
        if a64[U(o + BEST + shifted)] != words[TOUCH + shifted]:
            _shift(a32, a64, o, plan, words, shifted)
    for at in range(LEVELS, LEVELS + 2):
        if words[at] != NO_KEY:
            words[TOUCHED + side] = 1
            if words[IS_PART] == 0:
                _count_key(a32, a64, o, plan, words, side, words[at], 1)
    if words[IS_PART] != 0:
        _learn_part(a32, a64, o, (o + a64[U(o + ORDERS)]) * 2, plan, words)
    if words[WORST] != NO_WORST:
        opposite = 1 - side
        words[TOUCHED + opposite] = 1
        key = a64[U(o + BEST + opposite)]
        while key > EMPTY_KEY + opposite and key >= words[WORST]:
            _count_key(a32, a64, o, plan, words, opposite, key, 1)
            key = level_below(a64, o, opposite, key)
    words[EXPECTS] = 0
    words[SEEN] += 1


@cold
def _shift(a32, a64, o, plan, words, side):
    """Count distances from where the touch is now. Levels that were taken out stay out.

    Only levels near the edges of the bins move: into the next bin, as often as needed.
    """
    old, new = words[TOUCH + side], a64[U(o + BEST + side)]
    words[TOUCH + side] = new
    if old <= EMPTY_KEY + side or new <= EMPTY_KEY + side:
        # All that there was is taken out, or all that there is.
        return
    r = (o + a64[U(o + ORDERS)]) * 2
    closer, further = min(old, new), max(old, new)
    for code in range(plan[N_CANCEL] - 1):
        upper = plan[U(plan[CANCEL_UPPER] + code)]
        row = (side * plan[N_CANCEL] + code) * N_PLACES
        from_row = row if new > old else row + N_PLACES
        to_row = 2 * row + N_PLACES - from_row
        key = level_from(a64, o, side, new - (further - upper - 1))
        while key > EMPTY_KEY + side and key >= closer - upper:
            is_out = (
                key == words[LEVELS] or key == words[LEVELS + 1]
                if side == words[SIDE]
                else key >= words[WORST]
            )
            if not is_out:
                level = level_at(a64, o, side, key)
                _count_queue(a32, r, level, from_row, plan, words, -1)
                _count_queue(a32, r, level, to_row, plan, words, 1)
            key = level_below(a64, o, side, key)


def _entry_points(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def expect_all(a32, a64, bases, plan, words, messages):
        """`expect` for the books at `bases`: `messages` are the words of as many MESSAGE_DTYPE
        rows."""
        _ = sources
        for n in range(bases.size):
            expect(a32, a64, bases[n], plan, words[n], messages[4 * n : 4 * n + 4])

    @njit(nogil=True, cache=True, error_model="numpy")
    def learn_all(a32, a64, bases, plan, words):
        """`learn` for the books at `bases`."""
        _ = sources
        for n in range(bases.size):
            learn(a32, a64, bases[n], plan, words[n])

    return expect_all, learn_all


expect_all, learn_all = _entry_points(SOURCES)
