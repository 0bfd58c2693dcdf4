"""The queue events of stored sessions, for fits of the queue-reactive flow.

Replacements and what a feed only implies move the book, but are no events of a queue.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.events import EventType, Origin, to_messages
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.layout import EMPTY_KEY
from mtsim.engine.messages import Kind
from mtsim.errors import UsageError
from mtsim.flow import queue_reactive
from mtsim.flow.fit_queue_reactive import QueueEvents
from mtsim.flow.queue_reactive import ADDED, CANCELLED, MOST_LEVELS, TAKEN, next_reference_x2
from mtsim.model.looks import process
from mtsim.model.store import StoredSession

_ROWS = 1 << 15
_UNSEEN = np.iinfo(np.int64).min


def queue_events(session: StoredSession | Iterable[np.ndarray], levels: int) -> QueueEvents:
    """What happened to the queues of a session, or of EVENT_DTYPE arrays, near the reference
    price."""
    if not 1 <= levels <= MOST_LEVELS:
        raise UsageError(f"queue_events: 1 to {MOST_LEVELS} levels, got {levels}")
    arrays = session.events() if isinstance(session, StoredSession) else session
    books, reference = Books(1), np.array([_UNSEEN])
    parts, opens = [], True
    for rows in arrays:
        for start in range(0, len(rows), _ROWS):
            part, opens = _of_rows(rows[start : start + _ROWS], books, reference, levels, opens)
            parts.append(part)
    whole = [np.concatenate(columns) for columns in zip(*parts, strict=True)] if parts else []
    if not whole or not len(whole[0]):
        raise UsageError(f"{session}: nothing was done in this session; there is nothing to fit")
    return QueueEvents(*whole)


def levels_needed(spread_ticks: np.ndarray, seconds: np.ndarray) -> int:
    """Levels that hold both best queues for 99 % of the time, and three more."""
    levels = (np.maximum(spread_ticks, 1) + 2) // 2
    time = np.bincount(np.minimum(levels, MOST_LEVELS), seconds)
    held = int(np.searchsorted(np.cumsum(time), 0.99 * time.sum()))
    return min(max(held, 1) + 3, MOST_LEVELS)


def _of_rows(
    rows: np.ndarray, books: Books, reference: np.ndarray, levels: int, opens: bool
) -> tuple[tuple[np.ndarray, ...], bool]:
    """The columns of QueueEvents, and whether the next event opens a stretch."""
    is_marker = rows["type"] >= EventType.SESSION_START
    executed = rows[~is_marker]
    breaks = np.cumsum(is_marker & (rows["type"] != EventType.SESSION_START))[~is_marker]
    outcome, ticks, lots = process(books, to_messages(rows), np.arange(len(executed)), levels)
    queue_lots = np.zeros((len(executed), 2, levels), np.int64)
    best_levels = np.zeros((len(executed), 2), np.int64)
    references_x2 = np.zeros(len(executed), np.int64)
    _queues(ticks, lots, reference, queue_lots, best_levels, references_x2)

    results, kind = outcome.results, executed["kind"]
    is_seen = (executed["origin"] == Origin.OBSERVED) & (results["reject"] == 0)
    enters = is_seen & ((kind == Kind.LIMIT) | (kind == Kind.MARKET))
    takes = enters & (results["filled_lots"] > 0)
    adds = enters & (results["resting_lots"] > 0)
    leaves = is_seen & ((kind == Kind.CANCEL) | (kind == Kind.REDUCE))
    side = results["side"].astype(np.int64)
    tick = results["price_tick"].astype(np.int64)
    signed = np.where(side == 0, references_x2 - 2 * tick, 2 * tick - references_x2)
    level = np.where((signed > 0) & (signed < 2 * levels), (signed + 1) // 2, 0)
    # An order that trades and rests is two events at one time, and trades first.
    at = np.concatenate([np.flatnonzero(takes), np.flatnonzero(adds | leaves)])
    is_taker = np.arange(len(at)) < takes.sum()
    order = np.lexsort((~is_taker, at))
    at, is_taker = at[order], is_taker[order]
    queue_side = np.where(is_taker, 1 - side[at], side[at])
    left = np.where(leaves[at], executed["lots"][at], results["resting_lots"][at])
    run = breaks[at]
    columns = (
        executed["time_ns"][at],
        np.where(is_taker, TAKEN, np.where(leaves[at], CANCELLED, ADDED)),
        queue_side,
        np.where(is_taker, best_levels[at, queue_side], level[at]),
        np.where(is_taker, results["filled_lots"][at], left).astype(np.int64),
        queue_lots[at],
        best_levels[at],
        np.diff(run, prepend=0) > 0,
    )
    if len(at) and opens:
        columns[-1][0] = True
        opens = False
    last = run[-1] if len(at) else 0
    return columns, opens or bool(
        (is_marker & (rows["type"] != EventType.SESSION_START)).sum() > last
    )


def _entry_point(sources: int):
    empty, unseen = EMPTY_KEY, _UNSEEN

    @njit(cache=True, nogil=True, error_model="numpy")
    def queues(ticks, lots, reference, queue_lots, best_levels, references_x2):
        """The lots at each level, given books before events one after the other."""
        _ = sources
        levels = ticks.shape[2]
        for i in range(len(ticks)):
            bid = np.int64(ticks[i, 0, 0]) if lots[i, 0, 0] > 0 else np.int64(empty)
            ask = -np.int64(ticks[i, 1, 0]) if lots[i, 1, 0] > 0 else np.int64(empty + 1)
            if reference[0] == unseen:
                if bid <= empty or ask <= empty + 1:
                    continue
                reference[0] = bid - ask
            reference[0] = next_reference_x2(reference[0], bid, ask)
            references_x2[i] = reference[0]
            for side in range(2):
                for n in range(levels):
                    if lots[i, side, n] == 0:
                        break
                    away_x2 = reference[0] - 2 * np.int64(ticks[i, side, n])
                    level = ((away_x2 if side == 0 else -away_x2) + 1) // 2
                    if level < 1 or level > levels:
                        continue
                    queue_lots[i, side, level - 1] = lots[i, side, n]
                    if n == 0:
                        best_levels[i, side] = level

    return queues


_queues = _entry_point(fingerprint(queue_reactive.KERNELS.sources))
