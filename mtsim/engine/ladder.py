"""The compiled ladder: levels, queues, the window over them, slots and ids. Knows no message.

`a64` is the arena of all books as int64, `a32` the same memory as int32. `o` is the first word of
one book in `a64`, and `r` the first word of its orders in `a32`, so that an order begins at `r +
slot * ORDER_WORDS`. A *level* is the index of its two words in `a64`, in the ladder or in the
parked array, so that queues work alike in both. Indices are computed as int64 and used as uint64,
which spares the test for negative ones; the two types never meet in a sum.

The best level of a side is always inside its window, and everything parked is worse than everything
inside. Slot 0 is nobody: its links are written in place of a neighbour that is not there, and never
read.
"""

# Numba's stubs know fewer options than its decorators, and its intrinsics are called without the
# first of the arguments that they are written with.
# pyright: reportCallIssue=false

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from mtsim.engine.layout import (
    BEST,
    BITMAP,
    CAPACITY,
    EMPTY_KEY,
    FLOOR,
    FREE,
    HIDDEN,
    HIDDEN_LOTS,
    HIDDEN_SLICES,
    ID,
    IDS,
    KEY,
    LADDER,
    LOTS,
    MASK,
    MESSAGES,
    N_PARKED,
    NEXT,
    ORDER_WORDS,
    PARKED,
    PARKED_ROOM,
    PLACE,
    PLACES,
    PREVIOUS,
    SECOND_AND_SIDE,
    SHIFT,
    SLICE_LOTS,
    STRAIN,
    SUMMARY,
    USED,
    WIDEST,
)

# Neither is called from Python: without the wrappers they compile in half the time.
cold = njit(
    nogil=True,
    error_model="numpy",
    no_rewrites=True,
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    _nrt=False,
)
hot = njit(
    forceinline=True,
    nogil=True,
    error_model="numpy",
    no_rewrites=True,
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    _nrt=False,
)

U = np.uint64
# 2^64 / golden ratio: Fibonacci hashing spreads dense and strided ids evenly over the high bits.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@intrinsic
def leading_zeros(typing_context, word):
    """Zero bits above the highest set bit of an int64 that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def trailing_zeros(typing_context, word):
    """Zero bits below the lowest set bit of an int64 that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for the cache line of `array[index]`; any index is allowed."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        line = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To write, to be kept in all caches, data.
        builder.call(function, [line, word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


# --- slots ----------------------------------------------------------------------------------------


@hot
def take_slot(a32, a64, o, r):
    """A slot of the free list, or one never used. The caller has seen to it that there is one."""
    slot = a64[U(o + FREE)]
    if slot != 0:
        a64[U(o + FREE)] = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
        return slot
    slot = a64[U(o + USED)]
    a64[U(o + USED)] = slot + 1
    return slot


@hot
def give_slot(a32, a64, o, r, slot):
    a32[U(r + slot * ORDER_WORDS + NEXT)] = a64[U(o + FREE)]
    a64[U(o + FREE)] = slot


@cold
def lacks_slots(a32, a64, o, r, wanted):
    """Whether fewer than `wanted` (1 or 2) slots are to be had."""
    found = a64[U(o + CAPACITY)] - a64[U(o + USED)]
    slot = a64[U(o + FREE)]
    while slot != 0 and found < wanted:
        found += 1
        slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
    return found < wanted


# --- ids: linear probing, backward-shift deletion -------------------------------------------------


@hot
def find_id(a64, o, r, order_id):
    """(word, slot) of an id's entry, or the empty word where it would go and slot 0."""
    shift = a64[U(o + SHIFT)]
    table = o + a64[U(o + IDS)]
    product = U(order_id) * GOLDEN
    tag = np.int64(product >> U(32))
    position = np.int64(product >> U(shift))
    while True:
        entry = a64[U(table + position)]
        if entry == 0:
            return table + position, 0
        if ((entry >> 32) & 0xFFFFFFFF) == tag:
            slot = entry & 0xFFFFFFFF
            if a64[U((r + slot * ORDER_WORDS + ID) >> 1)] == order_id:
                return table + position, slot
        position = (position + 1) & np.int64(U(0xFFFFFFFFFFFFFFFF) >> U(shift))


@hot
def entry_of(a64, o, order_id, slot):
    """The word of the entry of an id that is in the table."""
    shift = a64[U(o + SHIFT)]
    table = o + a64[U(o + IDS)]
    position = np.int64((U(order_id) * GOLDEN) >> U(shift))
    while (a64[U(table + position)] & 0xFFFFFFFF) != slot:
        position = (position + 1) & np.int64(U(0xFFFFFFFFFFFFFFFF) >> U(shift))
    return table + position


@hot
def drop_entry(a64, o, word):
    """Take an entry out of the table and close the gap, so that no probe ever meets a tombstone."""
    shift = a64[U(o + SHIFT)]
    table = o + a64[U(o + IDS)]
    last = np.int64(U(0xFFFFFFFFFFFFFFFF) >> U(shift))
    gap = word - table
    position = (gap + 1) & last
    entry = a64[U(table + position)]
    while entry != 0:
        # The tag is the upper half of the product, the home its top bits: the order itself need not
        # be looked at.
        home = np.int64((U(entry) >> U(32)) >> U(shift - 32))
        if ((position - home) & last) >= ((position - gap) & last):
            a64[U(table + gap)] = entry
            gap = position
        position = (position + 1) & last
        entry = a64[U(table + position)]
    a64[U(table + gap)] = 0


# --- levels ---------------------------------------------------------------------------------------


@cold
def parked_rank(a64, o, side, key):
    """How many parked levels are worse than `key`: the entry where it is or would be."""
    entries = o + a64[U(o + PARKED)] + side * 3 * a64[U(o + PARKED_ROOM)]
    low = 0
    high = a64[U(o + N_PARKED + side)]
    while low < high:
        middle = (low + high) >> 1
        if a64[U(entries + 3 * middle)] < key:
            low = middle + 1
        else:
            high = middle
    return low


@cold
def level_of(a64, o, side, key):
    """The level at a key wherever it lies, 0 where nobody rests outside the window."""
    mask = a64[U(o + MASK)]
    if U(key - a64[U(o + FLOOR + side)]) <= U(mask):
        return o + a64[U(o + LADDER)] + (side * (mask + 1) + (key & mask)) * 2
    rank = parked_rank(a64, o, side, key)
    entry = o + a64[U(o + PARKED)] + 3 * (side * a64[U(o + PARKED_ROOM)] + rank)
    if rank < a64[U(o + N_PARKED + side)] and a64[U(entry)] == key:
        return entry + 1
    return 0


@cold
def next_level(a64, o, side, key):
    """The best key below `key` that holds orders, EMPTY_KEY + side if there is none."""
    mask = a64[U(o + MASK)]
    floor = a64[U(o + FLOOR + side)]
    if U(key - floor) <= U(mask):
        words = (mask + 1) >> 6
        bitmap = o + a64[U(o + BITMAP)] + side * words
        place = (key - 1) & mask
        word = place >> 6
        bits = a64[U(bitmap + word)] << (63 - (place & 63))
        below = floor - 1
        if bits != 0:
            below = key - 1 - leading_zeros(bits)
        else:
            summaries = (words + 63) >> 6
            summary = o + a64[U(o + SUMMARY)] + side * summaries
            # Down from the word before, once around the ring and into this word again: its upper
            # bits come last.
            word = (word if word > 0 else words) - 1
            for _ in range(summaries + 1):
                bits = a64[U(summary + (word >> 6))] << (63 - (word & 63))
                if bits != 0:
                    word -= leading_zeros(bits)
                    found = (word << 6) + 63 - leading_zeros(a64[U(bitmap + word)])
                    below = key - 1 - ((place - found) & mask)
                    break
                word = (word & ~63) - 1
                if word < 0:
                    word = words - 1
        # Below the floor the ring has come round to keys above `key`.
        if below >= floor:
            return below
    parked = a64[U(o + N_PARKED + side)]
    if parked == 0:
        return EMPTY_KEY + side
    rank = parked_rank(a64, o, side, key)
    if rank == 0:
        return EMPTY_KEY + side
    return a64[U(o + a64[U(o + PARKED)] + 3 * (side * a64[U(o + PARKED_ROOM)] + rank - 1))]


@hot
def mark_level(a64, o, side, key):
    mask = a64[U(o + MASK)]
    words = (mask + 1) >> 6
    word = (key & mask) >> 6
    a64[U(o + a64[U(o + BITMAP)] + side * words + word)] |= 1 << (key & 63)
    summary = o + a64[U(o + SUMMARY)] + side * ((words + 63) >> 6)
    a64[U(summary + (word >> 6))] |= 1 << (word & 63)


@cold
def unmark_level(a64, o, side, key):
    mask = a64[U(o + MASK)]
    words = (mask + 1) >> 6
    word = (key & mask) >> 6
    at = o + a64[U(o + BITMAP)] + side * words + word
    bits = a64[U(at)] & ~(1 << (key & 63))
    a64[U(at)] = bits
    if bits == 0:
        summary = o + a64[U(o + SUMMARY)] + side * ((words + 63) >> 6) + (word >> 6)
        a64[U(summary)] &= ~(1 << (word & 63))


# --- the window and what is parked outside it -----------------------------------------------------


@cold
def lacks_parked_room(a64, o, side):
    """Whether one more level might not find room if every level of the side were parked."""
    room = a64[U(o + PARKED_ROOM)]
    if a64[U(o + USED)] <= room:
        # No side has more levels than slots were handed out, and nobody's makes room for the new
        # one.
        return False
    words = (a64[U(o + MASK)] + 1) >> 6
    bitmap = o + a64[U(o + BITMAP)] + side * words
    levels = a64[U(o + N_PARKED + side)] + 1
    for word in range(words):
        bits = a64[U(bitmap + word)]
        while bits != 0:
            bits &= bits - 1
            levels += 1
    return levels > room


@cold
def is_strained(a64, o):
    """Whether the window should be wider, and may: work outside it has become common."""
    window = a64[U(o + MASK)] + 1
    # One piece of work in 16 messages costs about a nanosecond a message.
    return window < a64[U(o + WIDEST)] and a64[U(o + STRAIN)] > (a64[U(o + MESSAGES)] >> 4) + window


@cold
def raise_window(a64, o, side, floor):
    """Move the window up to `floor`, parking the levels that fall out of it, worst first."""
    mask = a64[U(o + MASK)]
    bitmap = o + a64[U(o + BITMAP)] + side * ((mask + 1) >> 6)
    entry = (
        o + a64[U(o + PARKED)] + 3 * (side * a64[U(o + PARKED_ROOM)] + a64[U(o + N_PARKED + side)])
    )
    key = a64[U(o + FLOOR + side)]
    end = min(floor, key + mask + 1)
    while key < end:
        bits = np.int64(U(a64[U(bitmap + ((key & mask) >> 6))]) >> U(key & 63))
        if bits == 0:
            key = (key | 63) + 1
            continue
        key += trailing_zeros(bits)
        if key >= end:
            break
        level = level_of(a64, o, side, key)
        a64[U(entry)] = key
        a64[U(entry + 1)] = a64[U(level)]
        a64[U(entry + 2)] = a64[U(level + 1)]
        entry += 3
        a64[U(o + N_PARKED + side)] += 1
        a64[U(o + STRAIN)] += 1
        a64[U(level)] = 0
        a64[U(level + 1)] = 0
        unmark_level(a64, o, side, key)
    a64[U(o + FLOOR + side)] = floor


@cold
def lower_window(a64, o, side, best):
    """Move the window down until a quarter of it lies above `best`; take in what it reaches."""
    mask = a64[U(o + MASK)]
    floor = best - (mask - (mask >> 2))
    a64[U(o + FLOOR + side)] = floor
    first = o + a64[U(o + PARKED)] + 3 * side * a64[U(o + PARKED_ROOM)]
    parked = a64[U(o + N_PARKED + side)]
    while parked > 0 and a64[U(first + 3 * (parked - 1))] >= floor:
        parked -= 1
        entry = first + 3 * parked
        key = a64[U(entry)]
        level = level_of(a64, o, side, key)
        a64[U(level)] = a64[U(entry + 1)]
        a64[U(level + 1)] = a64[U(entry + 2)]
        mark_level(a64, o, side, key)
        a64[U(o + STRAIN)] += 1
    a64[U(o + N_PARKED + side)] = parked


@cold
def open_outside(a64, o, side, key):
    """The level for an order whose key lies outside the window, which moves there if it should.

    The caller has seen to it that the parked array has room for every level of the side and one
    more.
    """
    best = a64[U(o + BEST + side)]
    floor = a64[U(o + FLOOR + side)]
    mask = a64[U(o + MASK)]
    if best <= EMPTY_KEY + side:
        lower_window(a64, o, side, key)
    elif key > floor:
        raise_window(a64, o, side, key - (mask - (mask >> 2)))
    elif best - floor < mask >> 2:
        # The market has walked to the lower end of its window: follow it before parking what
        # belongs near the best.
        lower_window(a64, o, side, best)
    level = level_of(a64, o, side, key)
    if level != 0:
        return level
    rank = parked_rank(a64, o, side, key)
    first = o + a64[U(o + PARKED)] + 3 * side * a64[U(o + PARKED_ROOM)]
    parked = a64[U(o + N_PARKED + side)]
    entry = first + 3 * rank
    a64[U(o + STRAIN)] += 1 + ((parked - rank) >> 3)
    for word in range(first + 3 * parked - 1, entry - 1, -1):
        a64[U(word + 3)] = a64[U(word)]
    a64[U(entry)] = key
    a64[U(entry + 1)] = 0
    a64[U(entry + 2)] = 0
    a64[U(o + N_PARKED + side)] = parked + 1
    return entry + 1


@cold
def close_level(a64, o, side, key):
    """Forget a level whose last order has left, and find the next best if it was the best."""
    parked = a64[U(o + N_PARKED + side)]
    if U(key - a64[U(o + FLOOR + side)]) > U(a64[U(o + MASK)]):
        end = o + a64[U(o + PARKED)] + 3 * (side * a64[U(o + PARKED_ROOM)] + parked)
        entry = level_of(a64, o, side, key) - 1
        a64[U(o + STRAIN)] += 1 + ((end - entry) >> 5)
        for word in range(entry, end - 3):
            a64[U(word)] = a64[U(word + 3)]
        a64[U(o + N_PARKED + side)] = parked - 1
        return
    unmark_level(a64, o, side, key)
    if key == a64[U(o + BEST + side)]:
        best = next_level(a64, o, side, key)
        a64[U(o + BEST + side)] = best
        if best > EMPTY_KEY + side and best < a64[U(o + FLOOR + side)]:
            lower_window(a64, o, side, best)


# --- queues ---------------------------------------------------------------------------------------


@hot
def join_level(a32, a64, o, r, side, key, slot, lots):
    """Put an order at the back of its level, displaying `lots`. The rest of it is the caller's."""
    mask = a64[U(o + MASK)]
    level = o + a64[U(o + LADDER)] + (side * (mask + 1) + (key & mask)) * 2
    if U(key - a64[U(o + FLOOR + side)]) > U(mask):
        level = open_outside(a64, o, side, key)
    order = r + slot * ORDER_WORDS
    tail = np.int64(a32[U(level * 2 + 1)])
    a32[U(order + NEXT)] = 0
    a32[U(order + PREVIOUS)] = tail
    a32[U(order + LOTS)] = lots
    a32[U(order + KEY)] = key
    a32[U(r + tail * ORDER_WORDS + NEXT)] = slot
    a32[U(level * 2 + 1)] = slot
    a64[U(level + 1)] += lots
    place = a64[U(o + PLACE)]
    a64[U(o + PLACE)] = place + 1
    a64[U(o + a64[U(o + PLACES)] + slot)] = place
    if tail == 0:
        a32[U(level * 2)] = slot
        if U(key - a64[U(o + FLOOR + side)]) <= U(mask):
            mark_level(a64, o, side, key)
            a64[U(o + BEST + side)] = max(key, a64[U(o + BEST + side)])


@hot
def leave_level(a32, a64, o, r, side, slot):
    """Take an order and what it displays out of its level. The rest of it is the caller's."""
    order = r + slot * ORDER_WORDS
    key = np.int64(a32[U(order + KEY)])
    mask = a64[U(o + MASK)]
    level = o + a64[U(o + LADDER)] + (side * (mask + 1) + (key & mask)) * 2
    if U(key - a64[U(o + FLOOR + side)]) > U(mask):
        level = level_of(a64, o, side, key)
    after = np.int64(a32[U(order + NEXT)])
    before = np.int64(a32[U(order + PREVIOUS)])
    a64[U(level + 1)] -= np.int64(a32[U(order + LOTS)])
    a32[U(r + after * ORDER_WORDS + PREVIOUS)] = before
    a32[U(r + before * ORDER_WORDS + NEXT)] = after
    head = np.int64(a32[U(level * 2)])
    tail = np.int64(a32[U(level * 2 + 1)])
    a32[U(level * 2)] = head if before != 0 else after
    a32[U(level * 2 + 1)] = tail if after != 0 else before
    if after == 0 and before == 0:
        close_level(a64, o, side, key)


# --- icebergs: a second record behind the order ---------------------------------------------------


@cold
def hide(a32, a64, o, r, side, second, hidden):
    """Set the hidden lots of the iceberg whose second record this is."""
    record = r + second * ORDER_WORDS
    slice_lots = np.int64(a32[U(record + SLICE_LOTS)])
    old = np.int64(a32[U(record + HIDDEN_LOTS)])
    a32[U(record + HIDDEN_LOTS)] = hidden
    a64[U(o + HIDDEN + side)] += hidden - old
    a64[U(o + HIDDEN_SLICES)] += (hidden + slice_lots - 1) // slice_lots - (
        old + slice_lots - 1
    ) // slice_lots


@cold
def show_next_slice(a32, a64, o, r, side, slot):
    """Put a level's first order, whose slice has traded out, at the back with its next slice."""
    order = r + slot * ORDER_WORDS
    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
    record = r + second * ORDER_WORDS
    hidden = np.int64(a32[U(record + HIDDEN_LOTS)])
    shown = min(np.int64(a32[U(record + SLICE_LOTS)]), hidden)
    key = np.int64(a32[U(order + KEY)])
    hide(a32, a64, o, r, side, second, hidden - shown)
    level = level_of(a64, o, side, key)
    a64[U(level + 1)] += shown - np.int64(a32[U(order + LOTS)])
    a32[U(order + LOTS)] = shown
    after = np.int64(a32[U(order + NEXT)])
    tail = np.int64(a32[U(level * 2 + 1)])
    if after != 0:
        a32[U(level * 2)] = after
        a32[U(level * 2 + 1)] = slot
        a32[U(r + after * ORDER_WORDS + PREVIOUS)] = 0
        a32[U(r + tail * ORDER_WORDS + NEXT)] = slot
        a32[U(order + PREVIOUS)] = tail
        a32[U(order + NEXT)] = 0
    a64[U(o + a64[U(o + PLACES)] + slot)] = a64[U(o + PLACE)]
    a64[U(o + PLACE)] += 1


@cold
def shrink(a32, a64, o, r, side, slot, taken):
    """Take lots off an order in its place, hidden ones first; it keeps at least one."""
    order = r + slot * ORDER_WORDS
    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
    if second != 0:
        hidden = np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
        cut = min(taken, hidden)
        hide(a32, a64, o, r, side, second, hidden - cut)
        taken -= cut
    a32[U(order + LOTS)] -= taken
    a64[U(level_of(a64, o, side, np.int64(a32[U(order + KEY)])) + 1)] -= taken


@hot
def dismiss(a32, a64, o, r, side, slot, word):
    """Give back the slot of an order that rested and has left its level, and forget its id and what
    it hid.

    `word` is where its id is entered, 0 in a book with handles.
    """
    order = r + slot * ORDER_WORDS
    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
    if second != 0:
        hide(a32, a64, o, r, side, second, np.int64(0))
        give_slot(a32, a64, o, r, second)
    if word != 0:
        drop_entry(a64, o, word)
    else:
        # The next generation of the slot: the handle of this order names nobody from now on.
        identity = (order + ID) >> 1
        a64[U(identity)] = (((a64[U(identity)] >> 32) + 1) & 0x7FFFFFFF) << 32
    give_slot(a32, a64, o, r, slot)
