"""The compiled engine: executes messages on the books of an arena. Knows no Python object.

Rules: `docs/engine-rules.md`. Memory: `layout`. A message whose execution might not find room is
not begun: the run stops before it with a NEED code, Python makes the room, and the run goes on as
if nothing had happened. An uncross is such a need, too: it is rare, and takes as long to compile as
half of the rest.

`make_run` holds nearly all of it in one function: Numba compiles a function once for itself and
once more in each that calls it, so that the same code in ten functions takes three times as long to
compile.
"""

# Numba's stubs know fewer options than its decorators, and its intrinsics are called without the
# first of the arguments that they are written with.
# pyright: reportCallIssue=false

import numpy as np
from numba import njit

from mtsim.engine.fetch import (
    FAR,
    HEADER_AHEAD,
    NEAR,
    NEXT_BUT_ONE,
    fetch_books,
    fetch_entry,
    fetch_neighbours,
    fetch_order,
    fetch_tail,
    level_named,
)
from mtsim.engine.ladder import (
    GOLDEN,
    U,
    cold,
    dismiss,
    entry_of,
    find_id,
    give_slot,
    hide,
    hot,
    is_strained,
    join_level,
    lacks_parked_room,
    lacks_slots,
    leave_level,
    level_of,
    next_level,
    prefetch,
    show_next_slice,
    shrink,
    take_slot,
)
from mtsim.engine.layout import (
    AT_ROW,
    AT_SPAN,
    BEST,
    CAPACITY,
    DONE,
    END_SPAN,
    FILL_ROOM,
    FILL_START,
    FILL_WORDS,
    FLOOR,
    HANDLES,
    HIDDEN,
    HIDDEN_LOTS,
    HIDDEN_SLICES,
    ID,
    KEY,
    LADDER,
    LOTS,
    MASK,
    MESSAGE_WORDS,
    MESSAGES,
    N_FILLS,
    N_PARKED,
    NEED_FILLS,
    NEED_PARKED,
    NEED_SLOTS,
    NEED_UNCROSS,
    NEED_WINDOW,
    NEXT,
    ORDER_WORDS,
    ORDERS,
    OWNER,
    PHASE,
    RESULT_WORDS,
    SECOND_AND_SIDE,
    SLICE_LOTS,
    SPAN_BASE,
    SPAN_COUNT,
    SPAN_FILLS,
    SPAN_ROW,
    STATUS,
    USED,
)
from mtsim.engine.messages import (
    MAX_TRANCHES,
    FillKind,
    Flag,
    Kind,
    Phase,
    Reject,
    SelfTrade,
    TimeInForce,
)
from mtsim.engine.units import MAX_LOTS, MAX_TICK

# The vocabulary as plain integers: Numba compiles enums, but slowly.
LIMIT, MARKET, CANCEL, REDUCE, REPLACE, START_AUCTION, UNCROSS = (kind.value for kind in Kind)
GTC, IOC, FOK = (tif.value for tif in TimeInForce)
ALLOW, CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT = (mode.value for mode in SelfTrade)
POST_ONLY, LOSE_PLACE = Flag.POST_ONLY.value, Flag.LOSE_PLACE.value
AUCTION = Phase.AUCTION.value
TRADE, MAKER_CANCELLED, BOTH_DECREMENTED = (kind.value for kind in FillKind)
ACCEPTED = Reject.NONE.value
BAD_KIND = Reject.BAD_KIND.value
WRONG_PHASE = Reject.WRONG_PHASE.value
BAD_SIDE = Reject.BAD_SIDE.value
BAD_INSTRUCTION = Reject.BAD_INSTRUCTION.value
BAD_LOTS = Reject.BAD_LOTS.value
BAD_TICK = Reject.BAD_TICK.value
BAD_DISPLAY = Reject.BAD_DISPLAY.value
BAD_OWNER = Reject.BAD_OWNER.value
BAD_ID = Reject.BAD_ID.value
DUPLICATE_ID = Reject.DUPLICATE_ID.value
UNKNOWN_ORDER = Reject.UNKNOWN_ORDER.value
NOT_OWNER = Reject.NOT_OWNER.value
WOULD_TAKE = Reject.WOULD_TAKE.value
UNFILLABLE = Reject.UNFILLABLE.value

# Below every sum of two keys: an order with this key crosses nothing.
NEVER = -(2**40)


@cold
def refusal(what, owner, tick, lots, display, order_id, phase, handles):
    """The first rule, up to BAD_ID, that the fields of a message break by themselves."""
    kind = what & 255
    side = (what >> 8) & 255
    tif = (what >> 16) & 255
    stp = (what >> 24) & 255
    flags = (what >> 32) & 0xFFFFFFFF
    if kind > UNCROSS:
        return BAD_KIND
    if phase == AUCTION:
        if kind == MARKET:
            return WRONG_PHASE
        if kind == START_AUCTION:
            return WRONG_PHASE
        if kind == LIMIT and (tif != GTC or flags & POST_ONLY != 0):
            return WRONG_PHASE
        if kind == REPLACE and flags & POST_ONLY != 0:
            return WRONG_PHASE
    elif kind == UNCROSS:
        return WRONG_PHASE
    if kind <= MARKET and side > 1:
        return BAD_SIDE
    if kind == LIMIT and (tif > FOK or flags > POST_ONLY or (flags == POST_ONLY and tif != GTC)):
        return BAD_INSTRUCTION
    if kind == MARKET and ((tif != IOC and tif != FOK) or flags != 0):
        return BAD_INSTRUCTION
    if kind == REPLACE and (tif != GTC or flags > POST_ONLY + LOSE_PLACE):
        return BAD_INSTRUCTION
    if (kind <= MARKET or kind == REPLACE) and stp > DECREMENT:
        return BAD_INSTRUCTION
    if kind <= REPLACE and kind != CANCEL and (lots < 1 or lots > MAX_LOTS):
        return BAD_LOTS
    priced = kind == LIMIT or (kind >= REPLACE and kind != START_AUCTION)
    if priced and (tick < -MAX_TICK or tick > MAX_TICK):
        return BAD_TICK
    if kind <= MARKET and display != 0:
        rests = kind == LIMIT and tif == GTC
        if not rests or display < 0 or display > lots or lots > display * MAX_TRANCHES:
            return BAD_DISPLAY
    if kind <= REPLACE and owner < 0:
        return BAD_OWNER
    if kind <= MARKET and order_id < 1 and handles == 0:
        return BAD_ID
    return ACCEPTED


@cold
def is_fillable(a32, a64, o, r, opposite, key, lots, stp, owner):
    """Whether an order of this key would trade all its lots at once."""
    whole_levels = stp == ALLOW and a64[U(o + HIDDEN + opposite)] == 0
    other = a64[U(o + BEST + opposite)]
    found = 0
    while found < lots and key + other >= 0:
        level = level_of(a64, o, opposite, other)
        if whole_levels:
            found += a64[U(level + 1)]
        else:
            hidden = 0
            slot = np.int64(a32[U(level * 2)])
            while slot != 0:
                order = r + slot * ORDER_WORDS
                if stp == ALLOW or np.int64(a32[U(order + OWNER)]) != owner:
                    found += np.int64(a32[U(order + LOTS)])
                    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
                    if second != 0:
                        hidden += np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
                elif stp != CANCEL_OLDEST:
                    # Its own order stops it here, before the next slice of any iceberg ahead.
                    return found >= lots
                slot = np.int64(a32[U(order + NEXT)])
            found += hidden
        other = next_level(a64, o, opposite, other)
    return found >= lots


@hot
def close_message(a64, o, results, row, price, reject, side, kind):
    """Count a message, and write the end of its result: price, touch after it, codes."""
    a64[U(o + MESSAGES)] += 1
    bid_tick = a64[U(o + BEST)]
    ask_tick = -a64[U(o + BEST + 1)]
    codes = reject | (side << 8) | (a64[U(o + PHASE)] << 16) | (kind << 24)
    results[U(row * RESULT_WORDS + 4)] = (price & 0xFFFFFFFF) | (bid_tick << 32)
    results[U(row * RESULT_WORDS + 5)] = (ask_tick & 0xFFFFFFFF) | (codes << 32)


@cold
def sweep(a32, a64, o, r, side, reach, lots, owner, stp, order_id, fills, n_fills):
    """Trade an incoming order while it has lots and crosses: `reach` is its key.

    Returns (lots left, lots filled, lots cancelled by self-trade prevention, the last price traded
    or 0, rows of `fills` in use). The caller has seen to it that `fills` has room.
    """
    opposite = 1 - side
    mask = a64[U(o + MASK)]
    ladder = o + a64[U(o + LADDER)] + opposite * (mask + 1) * 2
    filled = 0
    cancelled = 0
    last_tick = 0
    while lots > 0:
        best = a64[U(o + BEST + opposite)]
        if reach + best < 0:
            break
        level = ladder + (best & mask) * 2
        maker = np.int64(a32[U(level * 2)])
        order = r + maker * ORDER_WORDS
        shown = np.int64(a32[U(order + LOTS)])
        second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
        maker_owner = np.int64(a32[U(order + OWNER)])
        maker_tick = best if opposite == 0 else -best
        hidden = 0
        if second != 0:
            hidden = np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
        taken = min(lots, shown)
        fill_kind = TRADE
        if stp == ALLOW or maker_owner != owner:
            filled += taken
            lots -= taken
            last_tick = maker_tick
        elif stp == CANCEL_NEWEST:
            cancelled += lots
            lots = 0
            break
        elif stp == DECREMENT:
            fill_kind = BOTH_DECREMENTED
            cancelled += taken
            lots -= taken
        else:
            fill_kind = MAKER_CANCELLED
            taken = shown + hidden
            if stp == CANCEL_BOTH:
                cancelled += lots
                lots = 0
        left = shown + hidden - taken
        fill = n_fills * FILL_WORDS
        fills[U(fill)] = a64[U(o + MESSAGES)]
        fills[U(fill + 1)] = a64[U((order + ID) >> 1)]
        fills[U(fill + 2)] = order_id
        fills[U(fill + 3)] = (maker_tick & 0xFFFFFFFF) | (taken << 32)
        fills[U(fill + 4)] = maker_owner | (owner << 32)
        fills[U(fill + 5)] = left | (((side << 8) | fill_kind) << 32)
        n_fills += 1
        if left == 0:
            leave_level(a32, a64, o, r, opposite, maker)
            entry = 0
            if a64[U(o + HANDLES)] == 0:
                entry = entry_of(a64, o, a64[U((order + ID) >> 1)], maker)
            dismiss(a32, a64, o, r, opposite, maker, entry)
        elif taken < shown:
            a32[U(order + LOTS)] = shown - taken
            a64[U(level + 1)] -= taken
        else:
            show_next_slice(a32, a64, o, r, opposite, maker)
    return lots, filled, cancelled, last_tick, n_fills


def make_run(sources):
    """The function that executes messages, as compiled from `sources` (see `compiled`)."""

    @njit(nogil=True, cache=True, error_model="numpy", no_rewrites=True, _nrt=False)
    def run(a32, a64, spans, messages, results, fills, control, t):
        """Work through range `t` of `spans`, to its end or to the message that needs room."""
        _ = sources
        need = DONE
        at = control[t, AT_SPAN]
        end = control[t, END_SPAN]
        is_crowded = end - at > 1
        row = control[t, AT_ROW]
        fill_start = control[t, FILL_START]
        n_fills = fill_start + control[t, N_FILLS]
        fill_room = fill_start + control[t, FILL_ROOM]
        while at < end:
            if at + HEADER_AHEAD < end:
                fetch_books(a32, a64, spans, messages, at)
            o = spans[at, SPAN_BASE]
            r = (o + a64[U(o + ORDERS)]) * 2
            mask = a64[U(o + MASK)]
            handles = a64[U(o + HANDLES)]
            stop = spans[at, SPAN_ROW] + spans[at, SPAN_COUNT]
            row += spans[at, SPAN_ROW]
            while row < stop:
                word = row * MESSAGE_WORDS
                what = messages[U(word)]
                order_id = messages[U(word + 3)]
                owner = np.int64(np.int32(messages[U(word + 1)]))
                tick = messages[U(word + 1)] >> 32
                lots = np.int64(np.int32(messages[U(word + 2)]))
                display = messages[U(word + 2)] >> 32
                kind = what & 255
                side = (what >> 8) & 255
                tif = (what >> 16) & 255
                stp = (what >> 24) & 255
                if row + FAR < stop:
                    fetch_entry(a64, o, messages, word + FAR * MESSAGE_WORDS)
                    fetch_order(a32, a64, o, r, messages, word + NEAR * MESSAGE_WORDS)
                    fetch_neighbours(a32, a64, o, r, messages, word + NEXT_BUT_ONE * MESSAGE_WORDS)
                    if is_crowded:
                        # The levels of a single book stay in the cache by themselves.
                        prefetch(a64, U(level_named(a64, o, messages, word + FAR * MESSAGE_WORDS)))
                        fetch_tail(a32, a64, o, r, messages, word + NEAR * MESSAGE_WORDS)
                phase = a64[U(o + PHASE)]
                n_fills_before = n_fills

                reject = ACCEPTED
                filled = 0
                resting = 0
                cancelled = 0
                previous = 0
                price = tick
                enters = False  # the message brings an order that may trade and rest
                leaves = False  # the order that it names leaves its place
                slot = 0
                slice_lots = 0
                key = 0
                named_side = 0
                # Where the order's id is entered, or would be if the table stays as it is.
                entry = 0

                # Check, and find out what the message wants ---------------------------------------
                if kind <= MARKET:
                    plain = (
                        what & ~256 == 0
                        and U(lots - 1) < U(MAX_LOTS)
                        and U(tick + MAX_TICK) <= U(2 * MAX_TICK)
                        and display == 0
                        and owner >= 0
                        and (order_id >= 1 or handles != 0)
                    )
                    if not plain:
                        reject = refusal(what, owner, tick, lots, display, order_id, phase, handles)
                    if reject == ACCEPTED and handles == 0:
                        entry, found = find_id(a64, o, r, order_id)
                        if found != 0:
                            reject = DUPLICATE_ID
                    if reject == ACCEPTED:
                        enters = True
                        key = tick if side == 0 else -tick
                        if kind == MARKET:
                            # No limit: this key crosses every key there is.
                            key = MAX_TICK
                            price = 0
                        if display < lots:
                            slice_lots = display
                        if a64[U(o + CAPACITY)] - a64[U(o + USED)] < 2 and lacks_slots(
                            a32, a64, o, r, 2 if slice_lots > 0 else 1
                        ):
                            need = NEED_SLOTS
                            break
                        if U(key - a64[U(o + FLOOR + side)]) > U(mask) and tif == GTC:
                            if lacks_parked_room(a64, o, side):
                                need = NEED_PARKED
                                break
                            if is_strained(a64, o):
                                need = NEED_WINDOW
                                break
                elif kind <= REPLACE:
                    if kind != CANCEL:
                        reject = refusal(what, owner, tick, lots, display, order_id, phase, handles)
                    elif owner < 0:
                        reject = BAD_OWNER
                    if reject == ACCEPTED:
                        if handles == 0:
                            entry, slot = find_id(a64, o, r, order_id)
                        else:
                            slot = order_id & 0xFFFFFFFF
                            if slot < a64[U(o + USED)]:
                                if a64[U((r + slot * ORDER_WORDS + ID) >> 1)] != order_id:
                                    slot = 0
                            else:
                                slot = 0
                        if slot == 0:
                            reject = UNKNOWN_ORDER
                        elif np.int64(a32[U(r + slot * ORDER_WORDS + OWNER)]) != owner:
                            reject = NOT_OWNER
                    if reject == ACCEPTED:
                        order = r + slot * ORDER_WORDS
                        second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
                        named_side = np.int64(a32[U(order + SECOND_AND_SIDE)]) & 1
                        named_key = np.int64(a32[U(order + KEY)])
                        previous = np.int64(a32[U(order + LOTS)])
                        if second != 0:
                            record = r + second * ORDER_WORDS
                            previous += np.int64(a32[U(record + HIDDEN_LOTS)])
                            slice_lots = np.int64(a32[U(record + SLICE_LOTS)])
                        if kind != REPLACE:
                            price = named_key if named_side == 0 else -named_key
                            if kind == REDUCE and lots < previous:
                                resting = previous - lots
                            else:
                                leaves = True
                        elif slice_lots > 0 and lots > slice_lots * MAX_TRANCHES:
                            reject = BAD_DISPLAY
                        else:
                            key = tick if named_side == 0 else -tick
                            may_stay = (what >> 32) & LOSE_PLACE == 0
                            if key == named_key and lots <= previous and may_stay:
                                resting = lots
                            elif (
                                # The order's own leaving may move the window, too.
                                U(key - a64[U(o + FLOOR + named_side)]) > U(mask)
                                or a64[U(o + N_PARKED + named_side)] > 0
                            ) and lacks_parked_room(a64, o, named_side):
                                need = NEED_PARKED
                                break
                            else:
                                enters = True
                                leaves = True
                    if reject == ACCEPTED:
                        side = named_side
                        if not enters:
                            cancelled = previous - resting
                            if not leaves and cancelled > 0:
                                shrink(a32, a64, o, r, side, slot, cancelled)
                else:
                    reject = refusal(what, owner, tick, lots, display, order_id, phase, handles)
                    if reject == ACCEPTED:
                        order_id = 0
                        side = 0
                        if kind == START_AUCTION:
                            price = 0
                            a64[U(o + PHASE)] = AUCTION
                        else:
                            need = NEED_UNCROSS
                            break

                # What depends on the other side ---------------------------------------------------
                opposite = 1 - side
                reach = key if phase != AUCTION else NEVER
                if enters:
                    if reach + a64[U(o + BEST + opposite)] >= 0:
                        # Each row takes a lot off the taker or an order out of the book, and meets
                        # a slice that no other row has met: there are no more of them than this.
                        rows = lots + 1
                        if stp == CANCEL_OLDEST:
                            rows += a64[U(o + USED)]
                        rows = min(rows, a64[U(o + USED)] + a64[U(o + HIDDEN_SLICES)])
                        if (what >> 32) & POST_ONLY != 0:
                            reject = WOULD_TAKE
                        elif tif == FOK and not is_fillable(
                            a32, a64, o, r, opposite, key, lots, stp, owner
                        ):
                            reject = UNFILLABLE
                        elif n_fills + rows > fill_room:
                            need = NEED_FILLS
                            break
                    elif tif == FOK:
                        reject = UNFILLABLE
                    if reject != ACCEPTED:
                        enters = False
                        leaves = False
                        price = tick
                        side = (what >> 8) & 255

                # Leave ----------------------------------------------------------------------------
                if leaves:
                    leave_level(a32, a64, o, r, side, slot)
                    if not enters:
                        dismiss(a32, a64, o, r, side, slot, entry)
                    elif slice_lots > 0:
                        second = np.int64(a32[U(r + slot * ORDER_WORDS + SECOND_AND_SIDE)]) >> 1
                        hide(a32, a64, o, r, side, second, np.int64(0))

                if enters:
                    if handles != 0 and not leaves:
                        slot = take_slot(a32, a64, o, r)
                        order_id = a64[U((r + slot * ORDER_WORDS + ID) >> 1)] | slot

                    if reach + a64[U(o + BEST + opposite)] >= 0:
                        lots, filled, cancelled, last_tick, n_fills = sweep(
                            a32, a64, o, r, side, reach, lots, owner, stp, order_id, fills, n_fills
                        )
                        if kind == MARKET:
                            price = last_tick

                    # Rest, or leave ---------------------------------------------------------------
                    if lots > 0 and kind != MARKET and tif == GTC:
                        resting = lots
                        if slot == 0:
                            slot = take_slot(a32, a64, o, r)
                        order = r + slot * ORDER_WORDS
                        if not leaves:
                            second = 0
                            if slice_lots > 0:
                                second = take_slot(a32, a64, o, r)
                                a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)] = 0
                                a32[U(r + second * ORDER_WORDS + SLICE_LOTS)] = slice_lots
                            a64[U((order + ID) >> 1)] = order_id
                            a32[U(order + OWNER)] = owner
                            a32[U(order + SECOND_AND_SIDE)] = (second << 1) | side
                            if handles == 0:
                                if n_fills != n_fills_before:
                                    entry, _ = find_id(a64, o, r, order_id)
                                tag = np.int64((U(order_id) * GOLDEN) >> U(32))
                                a64[U(entry)] = (tag << 32) | slot
                        if slice_lots > 0 and slice_lots < lots:
                            second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
                            hide(a32, a64, o, r, side, second, lots - slice_lots)
                            lots = slice_lots
                        join_level(a32, a64, o, r, side, key, slot, lots)
                    else:
                        cancelled += lots
                        if leaves:
                            if handles == 0:
                                entry = entry_of(a64, o, order_id, slot)
                            dismiss(a32, a64, o, r, side, slot, entry)
                        elif slot != 0:
                            give_slot(a32, a64, o, r, slot)

                # Answer ---------------------------------------------------------------------------
                if reject != ACCEPTED:
                    previous = 0
                word = row * RESULT_WORDS
                results[U(word)] = order_id
                results[U(word + 1)] = filled
                results[U(word + 2)] = (n_fills - n_fills_before) | (resting << 32)
                results[U(word + 3)] = cancelled | (previous << 32)
                close_message(a64, o, results, row, price, reject, side, kind)
                row += 1
            row -= spans[at, SPAN_ROW]
            if need != DONE:
                break
            spans[at, SPAN_FILLS] = n_fills - fill_start
            row = 0
            at += 1
        control[t, AT_SPAN] = at
        control[t, AT_ROW] = row
        control[t, N_FILLS] = n_fills - fill_start
        control[t, STATUS] = need

    return run
