"""Row by row through a LOBSTER file: what each message does to the book, and the book row after it.

The window follows the messages; where book rows are given, each must follow from the row before and
its message, as far as the row before showed the book, and what lies beyond is taken from the row.
Compiled; the orders are `lobster_orders`, a book row is `lobster_evidence`. Knows no file.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path

from numba import njit

from mtsim.engine.fingerprint import fingerprint
from mtsim.model.sources.lobster_evidence import hold_against, set_bounds
from mtsim.model.sources.lobster_findings import (
    CROSS_PRINT,
    HALT_MARKER,
    HIDDEN,
    IN_HALT,
    NOT_BEST,
    OTHER,
    PASSED,
    QUEUE,
    RESUMES_CROSSED,
    SPLIT,
    TOO_MANY,
    TWICE,
    UNKNOWN,
    UNSEEN,
)
from mtsim.model.sources.lobster_orders import (
    AUCTION,
    BOUND,
    BROKEN_ROW,
    GTC,
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
    U,
    add_own,
    anonymous,
    cancel,
    compiled,
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


@compiled
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
            head[NOW], head[ROW] = messages.time_ns[U(first)], first_row + first
            if end > first and messages.type[U(i)] == EXECUTE and head[IN_AUCTION] == 0:
                _execute(w, messages, i, with_book)
            else:
                head[ROW] = first_row + i
                _apply(w, messages, i, with_book)
            if head[RULE] == 0 and with_book:
                hold_against(w, ticks, lots, i)
            if head[RULE] != 0:
                head[BROKEN_ROW] = i
                return i
            i += 1
        head[NOW], head[ROW] = messages.time_ns[U(first)], first_row + first
        if i < last:
            w.reasons[SPLIT] += 1
        _send(w, messages.side[U(first)])
        if with_book:
            w.truth[head[N_TRUTH], 0], w.truth[head[N_TRUTH], 1] = head[N_OUT], i - 1
            head[N_TRUTH] += 1
    return i


# One row ------------------------------------------------------------------------------------------


@compiled
def _burst_end(messages, i, n):
    """Where the rows of one aggressive order end that begins at i; i if none begins there."""
    if messages.type[U(i)] != EXECUTE:
        return i
    worst = messages.tick[U(i)]
    side = messages.side[U(i)]
    k = i + 1
    while k < n and messages.time_ns[U(k)] == messages.time_ns[U(i)]:
        # A hidden order that trades between two visible ones trades with the same aggressor.
        if messages.type[U(k)] != EXECUTE_HIDDEN:
            if messages.type[U(k)] != EXECUTE or messages.side[U(k)] != side:
                break
            if messages.tick[U(k)] > worst if side == 0 else messages.tick[U(k)] < worst:
                break
            worst = messages.tick[U(k)]
        k += 1
    return k


@compiled
def _apply(w, messages, i, with_book):
    """One row that is no visible execution, or one in a halt."""
    head = w.head
    kind, side = messages.type[U(i)], messages.side[U(i)]
    if kind == EXECUTE_HIDDEN:
        w.reasons[HIDDEN] += 1
    elif kind == HALT:
        w.reasons[HALT_MARKER] += 1
        _halt(w, messages.tick[U(i)], with_book)
    elif kind == ADD:
        key = key_of(side, messages.tick[U(i)])
        if not with_book and head[IN_AUCTION] == 0:
            remove_better(w, 1 - side, -key, PASSED)
        if find_id(w, messages.order_id[U(i)]) >= 0:
            head[RULE] = TWICE
            return
        emit(w, OBSERVED, LIMIT, side, GTC, 0, key, messages.lots[U(i)], messages.order_id[U(i)])
        rest(w, side, key, messages.lots[U(i)], messages.order_id[U(i)])
    elif kind in (REDUCE, DELETE, EXECUTE):
        if kind == EXECUTE:
            w.reasons[IN_HALT] += 1
        _leave(w, messages, i, with_book, INFERRED if kind == EXECUTE else OBSERVED)
    else:
        w.reasons[CROSS_PRINT] += 1


@compiled
def _halt(w, price, with_book):
    """The marker of a halt: orders are collected until trading resumes."""
    head = w.head
    if price == HALTED and head[IN_AUCTION] == 0:
        head[IN_AUCTION] = 1
        emit(w, OBSERVED, AUCTION, 0, GTC, 0, 0, 0, 0)
    elif price == TRADING and head[IN_AUCTION] == 1:
        while crossed(w):
            if with_book:
                head[RULE] = RESUMES_CROSSED
                return
            remove_level(w, 0, head[N_LEVELS] - 1, PASSED)
        head[IN_AUCTION] = 0
        # Nothing crosses, so nothing trades and the reference price does not matter.
        emit(w, OBSERVED, UNCROSS, 0, GTC, 0, 0, 0, 0)


@compiled
def _leave(w, messages, i, with_book, origin):
    """Lots of a resting order go without a trade."""
    head = w.head
    side, lots = messages.side[U(i)], messages.lots[U(i)]
    key = key_of(side, messages.tick[U(i)])
    at = find_id(w, messages.order_id[U(i)])
    slot = w.ids[U(at), 1] if at >= 0 else 0
    # A cross has one price, whatever the prices of its orders.
    if messages.type[U(i)] == EXECUTE and slot != 0:
        key = w.orders[U(slot), KEY]
    if slot != 0 and w.orders[U(slot), KEY] == key and w.orders[U(slot), SIDE] == side:
        there = w.orders[U(slot), LOTS]
        part = there if messages.type[U(i)] == DELETE and not with_book else min(lots, there)
        cancel(w, origin, slot, part)
        if not with_book or part == lots:
            return
        lots -= part
    p = level_at(w, side, key)
    if not with_book or (p < 0 and key < head[U(BOUND + side)]):
        w.reasons[UNKNOWN] += 1
        return
    if p < 0 or w.levels[U(side), U(p), LEVEL_LOTS] < lots:
        head[RULE] = TOO_MANY
        return
    while lots > 0:
        slot = anonymous(w, side, p, lots)
        if slot == 0:
            w.reasons[OTHER] += 1
            slot = likeliest(w, side, p, lots)
        part = min(lots, w.orders[U(slot), LOTS])
        cancel(w, origin, slot, part)
        lots -= part


@compiled
def _execute(w, messages, i, with_book):
    """Add a visible execution to the aggressive order that is being put together."""
    head = w.head
    side, lots = messages.side[U(i)], messages.lots[U(i)]
    key = key_of(side, messages.tick[U(i)])
    if not with_book:
        remove_better(w, side, key + 1, PASSED)
        remove_better(w, 1 - side, -key, PASSED)
    p = head[U(N_LEVELS + side)] - 1
    if with_book:
        if p < 0 or w.levels[U(side), U(p), LEVEL_KEY] != key:
            head[RULE] = NOT_BEST
            return
        if w.levels[U(side), U(p), LEVEL_LOTS] < lots:
            head[RULE] = TOO_MANY
            return
    at = find_id(w, messages.order_id[U(i)])
    while lots > 0:
        slot = w.ids[U(at), 1] if at >= 0 else 0
        if slot != 0 and w.orders[U(slot), KEY] == key and w.orders[U(slot), SIDE] == side:
            pass
        else:
            p = level_at(w, side, key)
            slot = first_anonymous(w, side, p) if p >= 0 else 0
            if slot == 0 and with_book:
                w.reasons[OTHER] += 1
                slot = w.levels[U(side), U(p), HEAD]
            elif slot == 0:
                w.reasons[UNSEEN] += 1
                slot = add_own(w, INFERRED, side, key, lots)
        at = -1
        _bring_to_front(w, side, key, slot)
        part = min(lots, w.orders[U(slot), LOTS])
        head[PARTIAL] = slot
        take(w, slot, part)
        head[TAKEN] += part
        head[WORST] = key
        lots -= part


@compiled
def _send(w, side):
    """Write the aggressive order that has been put together, if there is one."""
    head = w.head
    if head[TAKEN] > 0:
        order_id = head[NEXT_OWN]
        head[NEXT_OWN] += 1
        # It stands on the other side, so that its price is the worst that it has paid.
        emit(w, OBSERVED, LIMIT, 1 - side, IOC, 0, -head[WORST], head[TAKEN], order_id)
    head[TAKEN], head[PARTIAL] = 0, 0


@compiled
def _bring_to_front(w, side, key, slot):
    """Send every order ahead of this one behind it: the feed shows that they came later."""
    head = w.head
    p = level_at(w, side, key)
    if (
        head[PARTIAL] != 0
        and head[PARTIAL] == w.levels[U(side), U(p), HEAD]
        and head[PARTIAL] != slot
    ):
        # What it has of the first order it must take before that order moves.
        w.reasons[SPLIT] += 1
        _send(w, side)
    while w.levels[U(side), U(p), HEAD] != slot:
        first = w.levels[U(side), U(p), HEAD]
        w.reasons[QUEUE] += 1
        lots, order_id = w.orders[U(first), LOTS], w.orders[U(first), ID]
        emit(w, INFERRED, REPLACE, side, GTC, LOSE_PLACE, key, lots, order_id)
        following = w.orders[U(first), NEXT]
        w.levels[U(side), U(p), HEAD] = following
        w.orders[U(following), PREVIOUS] = 0
        tail = w.levels[U(side), U(p), TAIL]
        w.orders[U(tail), NEXT] = first
        w.orders[U(first), PREVIOUS], w.orders[U(first), NEXT] = tail, 0
        w.levels[U(side), U(p), TAIL] = first


def _entry_points(sources: int):
    entry = njit(cache=True, nogil=True, error_model="numpy", no_rewrites=True, _nrt=False)

    @entry
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
        set_bounds(w, ticks, lots, 0)

    @entry
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


# All modules whose code or constants end up in compiled code.
_COMPILED = ("rows", "orders", "findings", "evidence", "window")
_SOURCES = [Path(__file__).with_name(f"lobster_{module}.py") for module in _COMPILED]

seed, follow = _entry_points(fingerprint(*_SOURCES))
