"""Where everything lies in memory. Knows words and offsets, not what happens to them.

A book is one block of 64-bit words: a header, then the parts whose offsets the header holds. Every
link inside is relative to its block, so a block can be copied anywhere and is the same book there.

    header    HEADER_WORDS
    bitmap    2 sides x window bits: which ticks of the window hold a level
    summary   2 sides x 1 bit for each word of the bitmap
    ladder    2 sides x window levels of 2 words: head and tail slot (2 x int32), displayed lots
    ids       a power of two of words, 0 or hash << 32 | slot; at most half of them in use
    places    1 word an order slot: when the order took its place in its level
    orders    4 words (8 x int32) a slot; slot 0 is nobody
    parked    2 sides x parked_room entries of 3 words: key, and a level; best last

A *key* is a price seen from its own side: the tick of a bid, minus the tick of an ask. On both
sides the higher key is the better one, an order crosses when its key and the best key opposite sum
to zero or more, and all code below is written once.
"""

from typing import NamedTuple

import numpy as np

# Header words. The first two lines of 64 bytes are what an ordinary message touches.
BEST = 0  # 2 words: the best key of each side, EMPTY_KEY + side where nobody rests
FLOOR = 2  # 2 words: the lowest key inside each side's window
FREE = 4  # first slot of the free list, 0: none
USED = 5  # slots handed out so far, slot 0 included; the slots above have never been used
PLACE = 6  # the next place in a queue
PHASE = 7
MASK = 8  # window - 1
CAPACITY = 9  # slots, slot 0 included
SHIFT = 10  # 64 - log2(words of ids)
MESSAGES = 11  # messages so far
LADDER = 12
ORDERS = 13
IDS = 14
PLACES = 15
BITMAP = 16
SUMMARY = 17
PARKED = 18
PARKED_ROOM = 19  # entries of each side's parked array
N_PARKED = 20  # 2 words: parked levels of each side
HIDDEN = 22  # 2 words: hidden lots of each side
HIDDEN_SLICES = 24  # slices that hidden lots can still show, both sides
HANDLES = 25  # 1: the book issues its ids
SIZE = 26  # words of the block
WIDEST = 27  # ticks to which the window may be widened
STRAIN = 28  # work done outside the window and in moving it, see `ladder.is_strained`
HEADER_WORDS = 32

# Words of an order, int32. The id is int64 at words 4 and 5. A free slot keeps the next free one in
# NEXT.
ORDER_WORDS = 8
NEXT = 0
PREVIOUS = 1
LOTS = 2  # displayed lots
KEY = 3
ID = 4
OWNER = 6
SECOND_AND_SIDE = 7  # the slot of the iceberg's second record << 1 | side
# The second record of an iceberg.
HIDDEN_LOTS = 2
SLICE_LOTS = 3

# Why a run stopped.
DONE = 0
NEED_SLOTS = 1
NEED_FILLS = 2
NEED_PARKED = 3
NEED_WINDOW = 4
NEED_UNCROSS = 5

# Columns of a span, one row for each book that steps: its first word in the arena, its first
# message, how many messages; the run writes where its fills end.
SPAN_BASE, SPAN_ROW, SPAN_COUNT, SPAN_FILLS = range(4)
SPAN_COLUMNS = 4
# Columns of the control, one row for each range of spans that one thread works through. A run
# begins and stops before message AT_ROW of span AT_SPAN, with N_FILLS of the FILL_ROOM rows of
# fills from FILL_START in use.
AT_SPAN, END_SPAN, AT_ROW, FILL_START, FILL_ROOM, N_FILLS, STATUS = range(7)

# Words of a row of messages, results and fills.
MESSAGE_WORDS = 4
RESULT_WORDS = 6
FILL_WORDS = 6

EMPTY_KEY = -(2**31)  # + side: with the asks' sign this gives EMPTY_BID and EMPTY_ASK
MIN_WINDOW = 64
MAX_WINDOW = 65536


class Sizes(NamedTuple):
    """The room a block has: ticks of each window, order slots, parked levels a side."""

    window: int
    slots: int
    parked: int


def new_header(sizes: Sizes, *, widest: int, handles: bool) -> np.ndarray:
    """The header of an empty book; the rest of its block is zeros."""
    header = np.zeros(HEADER_WORDS, np.int64)
    header[BEST : BEST + 2] = EMPTY_KEY, EMPTY_KEY + 1
    header[USED] = 1
    header[HANDLES] = handles
    header[WIDEST] = widest
    _set_offsets(header, sizes)
    return header


def block_words(sizes: Sizes) -> int:
    """The words of a block of these sizes."""
    header = np.zeros(HEADER_WORDS, np.int64)
    _set_offsets(header, sizes)
    return int(header[SIZE])


def sizes_of(block: np.ndarray) -> Sizes:
    return Sizes(int(block[MASK]) + 1, int(block[CAPACITY]), int(block[PARKED_ROOM]))


def resize(block: np.ndarray, target: np.ndarray, sizes: Sizes) -> None:
    """Write the book of `block` into `target`: zeros, with no less room and no smaller window."""
    target[:HEADER_WORDS] = block[:HEADER_WORDS]
    _set_offsets(target, sizes)
    _copy(block, target, PLACES, block[CAPACITY])
    _copy(block, target, ORDERS, block[CAPACITY] * ORDER_WORDS // 2)
    _fill_ids(block[block[IDS] : block[PLACES]], target[target[IDS] : target[PLACES]])
    for side in range(2):
        _place_levels(levels_of(block, side), target, side)
    if sizes.window > block[MASK] + 1:
        target[STRAIN] = block[MESSAGES] >> 4


def levels_of(block: np.ndarray, side: int) -> np.ndarray:
    """[n, 3] of key, head and tail slot, displayed lots: the levels of a side, parked and inside,
    best last."""
    window = block[MASK] + 1
    first = block[PARKED] + side * 3 * block[PARKED_ROOM]
    parked = block[first : first + 3 * block[N_PARKED + side]].reshape(-1, 3)
    first = block[LADDER] + side * 2 * window
    ladder = block[first : first + 2 * window].reshape(-1, 2)
    held = np.flatnonzero(ladder[:, 0])
    floor = block[FLOOR + side]
    keys = np.sort(floor + ((held - floor) & block[MASK]))
    inside = np.column_stack((keys, ladder[keys & block[MASK]]))
    return np.concatenate((parked, inside))


def _place_levels(levels: np.ndarray, target: np.ndarray, side: int) -> None:
    """Write the levels of a side into a block that holds none: parked, or inside a window around
    the best."""
    mask = target[MASK]
    if len(levels):
        target[FLOOR + side] = levels[-1, 0] - (mask - (mask >> 2))
    n_parked = np.searchsorted(levels[:, 0], target[FLOOR + side])
    target[N_PARKED + side] = n_parked
    first = target[PARKED] + side * 3 * target[PARKED_ROOM]
    target[first : first + 3 * n_parked] = levels[:n_parked].reshape(-1)
    inside = levels[n_parked:]
    ticks = inside[:, 0] & mask
    first = target[LADDER] + side * 2 * (mask + 1)
    target[first : first + 2 * (mask + 1)].reshape(-1, 2)[ticks] = inside[:, 1:]
    words = (mask + 1) // 64
    _set_bits(target, target[BITMAP] + side * words, ticks)
    _set_bits(target, target[SUMMARY] + side * ((words + 63) // 64), ticks >> 6)


def _set_bits(target: np.ndarray, first: int, bits: np.ndarray) -> None:
    np.bitwise_or.at(target, first + (bits >> 6), np.int64(1) << (bits & 63))


def _copy(block: np.ndarray, target: np.ndarray, part: int, words: int) -> None:
    target[target[part] : target[part] + words] = block[block[part] : block[part] + words]


def _fill_ids(table: np.ndarray, target: np.ndarray) -> None:
    """Enter all ids of a table into an empty one that is no smaller."""
    bits = len(target).bit_length() - 1
    entries = table[table != 0].view(np.uint64)
    homes = (entries >> np.uint64(64 - bits)).astype(np.int64)
    order = np.argsort(homes, kind="stable")
    entries, homes = entries[order].view(np.int64), homes[order]
    # In the order of their homes each goes to its home or to the place after the one before.
    count = np.arange(len(homes))
    places = np.maximum.accumulate(homes - count) + count
    fits = places < len(target)
    target[places[fits]] = entries[fits]
    # What runs over the end is probed from the start.
    free = np.flatnonzero(target[: len(entries) + 1] == 0)
    target[free[: np.count_nonzero(~fits)]] = entries[~fits]


def _set_offsets(header: np.ndarray, sizes: Sizes) -> None:
    """Write what the sizes say into a header: where the parts lie, and the SIZE of the block, whole
    lines of 8 words."""
    words = sizes.window // 64
    ids = 1 << (2 * sizes.slots - 1).bit_length()
    header[MASK] = sizes.window - 1
    header[CAPACITY] = sizes.slots
    header[PARKED_ROOM] = sizes.parked
    header[SHIFT] = 64 - (ids.bit_length() - 1)
    header[BITMAP] = HEADER_WORDS
    header[SUMMARY] = header[BITMAP] + 2 * words
    header[LADDER] = _line(header[SUMMARY] + 2 * ((words + 63) // 64))
    header[IDS] = header[LADDER] + 4 * sizes.window
    header[PLACES] = header[IDS] + ids
    header[ORDERS] = _line(header[PLACES] + sizes.slots)
    header[PARKED] = header[ORDERS] + ORDER_WORDS // 2 * sizes.slots
    header[SIZE] = _line(header[PARKED] + 6 * sizes.parked)


def _line(words: int) -> int:
    return (words + 7) // 8 * 8
