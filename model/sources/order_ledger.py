"""Order-by-order records of a venue made into messages of the engine: what rests, in which turn.

A ledger follows the feed's orders in their queues, so that it knows which order the engine would
hit. Records of one matching event become one aggressive order; what the engine could not repeat
(an execution out of turn, in a cross, or while the book lies crossed) takes its lots out of the
named order as an INFERRED cancel, so that the book stays the feed's. Knows no vendor format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mtsim.errors import DataError
from mtsim.model.sources import order_matching, order_queues
from mtsim.model.sources.base import BATCH_ROWS, FEED_DTYPE, Batch, Counts, Truth
from mtsim.model.sources.order_queues import Scalar
from mtsim.model.sources.order_records import OUT_DTYPE, RECORD_DTYPE, Fate, Fault, Op, Repair

# What a record becomes is at most: the aggressive order before it, AUCTION, a message, UNCROSS.
_STEP = BATCH_ROWS // 4

_DROPPED = {
    Fate.UNKNOWN: "an unknown order cancelled or changed",
    Fate.UNKNOWN_EXECUTED: "an unknown order executed",
    Fate.IMPLIED: "a cancel or change that a fill implies",
    Fate.UNCHANGED: "a change that changes nothing",
}
_REPAIRED = {
    Repair.OUT_OF_TURN: "executed out of turn: taken out of the order the feed names",
    Repair.CROSSED: "executed in an auction: taken out of the order the feed names",
    Repair.AUCTION: "the book lies crossed: auction until it does not",
    Repair.ADDED: "a change of an unknown order: the order added",
    Repair.CLEARED: "cancelled because the feed cleared its book",
    Repair.TOO_MANY: "more lots taken than the order showed: what it showed",
    Repair.NO_CANCEL: "a fill whose cancel the feed lacks",
    Repair.WITHDRAWN: "a resting order that took: withdrawn before",
    Repair.EARLY: "a cancel moved before the fills it made way for",
}
_FAULTS = {
    Fault.DUPLICATE: "an order is added whose id rests already",
    Fault.SIDE: "a change names another side than its order has",
}


class Block(NamedTuple):
    """Some records in order, and snapshots: `truth.after` counts records here, not messages."""

    records: np.ndarray
    truth: Truth | None = None


class Ledger:
    """The orders that rest according to a feed."""

    def __init__(self, file: str):
        self._file = file
        self._state = order_queues.empty_state()

    def execute(self, records: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The FEED_DTYPE messages of records that end with a matching event; after how many of
        them the book is the one after each record (-1: inside an aggressive order); their fates.

        At most `_STEP` records without CLEAR. DataError for records that contradict each other.
        """
        n = len(records)
        self._state = order_queues.with_room(self._state, n)
        out = np.zeros(4 * n + 1, OUT_DTYPE)
        after = np.empty(n, np.int64)
        fate = np.empty(n, np.uint8)
        # Records may change places, and those of the caller are not ours.
        records = records.copy()
        n_out, at, fault = order_matching.run(records, self._state, out, after, fate)
        if fault:
            raise DataError(self._file, int(records["row"][at]), _FAULTS[Fault(fault)])
        return out[:n_out].view(FEED_DTYPE), after, fate

    def clear(self, record: np.ndarray) -> np.ndarray:
        """The FEED_DTYPE messages that empty the book, because of one record."""
        out = np.zeros(int(self._state.scalars[Scalar.LIVE]) + 1, OUT_DTYPE)
        n_out = order_matching.clear(record, self._state, out)
        return out[:n_out].view(FEED_DTYPE)

    def repairs(self) -> dict[str, int]:
        """What the messages had to be mended for so far, by reason."""
        done = self._state.repairs
        return {reason: int(done[repair]) for repair, reason in _REPAIRED.items() if done[repair]}


def batches(blocks: Iterable[Block], file: str, counts: Counts) -> Iterator[Batch]:
    """The messages of a feed's records, whose times never go back, and its snapshots among them.

    Writes `used`, `dropped` and `repaired` of `counts`. A matching event is only cut in two where
    more than `_STEP` records have its time. Snapshots inside an aggressive order are left out.
    """
    ledger = Ledger(file)
    held = Block(np.empty(0, RECORD_DTYPE))
    for block in blocks:
        held = _joined(held, block)
        # The matching event at the end may go on in the next block.
        time_ns = held.records["time_ns"]
        stop = int(np.searchsorted(time_ns, time_ns[-1])) if len(time_ns) else 0
        if stop == 0 and len(time_ns) > _STEP:
            stop = len(time_ns)
        ready, held = _cut(held, stop)
        yield from _executed(ledger, ready, counts)
    yield from _executed(ledger, held, counts)
    counts.repaired.update(ledger.repairs())


def _executed(ledger: Ledger, block: Block, counts: Counts) -> Iterator[Batch]:
    while len(block.records):
        if block.records["op"][0] == Op.CLEAR:
            now, block = _cut(block, 1)
            feed = ledger.clear(now.records)
            counts.used += 1
            yield from _sliced(feed, _placed(now.truth, np.array([len(feed)])))
            continue
        now, block = _cut(block, _step(block.records))
        feed, after, fate = ledger.execute(now.records)
        # A message that was moved ahead of others has happened by the time they did.
        feed["time_ns"] = np.minimum.accumulate(feed["time_ns"][::-1])[::-1]
        fates = np.bincount(fate, minlength=len(Fate))
        counts.used += int(fates[Fate.USED])
        for what, reason in _DROPPED.items():
            if fates[what]:
                counts.dropped[reason] += int(fates[what])
        yield from _sliced(feed, _placed(now.truth, after))


def _step(records: np.ndarray) -> int:
    """How many records to execute at once: up to a CLEAR, and not into a matching event."""
    stop = min(len(records), _STEP)
    cleared = records["op"][:stop] == Op.CLEAR
    if cleared.any():
        return int(np.argmax(cleared))
    if stop < len(records):
        begin = int(np.searchsorted(records["time_ns"][:stop], records["time_ns"][stop]))
        return begin or stop
    return stop


def _placed(truth: Truth | None, after: np.ndarray) -> Truth | None:
    """Snapshots that stand after so many records, now after so many messages."""
    if truth is None:
        return None
    # A snapshot before the first record is one of the book before the first message.
    place = np.concatenate((np.zeros(1, np.int64), after))[truth.after]
    known = place >= 0
    return Truth(place[known], truth.row[known], truth.tick[known], truth.lots[known])


def _sliced(feed: np.ndarray, truth: Truth | None) -> Iterator[Batch]:
    """Batches of at most BATCH_ROWS messages; snapshots go with the message they follow."""
    for start in range(0, max(len(feed), 1), BATCH_ROWS):
        part = feed[start : start + BATCH_ROWS]
        inside = None
        if truth is not None:
            low = start if start else -1
            mine = (truth.after > low) & (truth.after <= start + BATCH_ROWS)
            inside = Truth(truth.after[mine] - start, *(column[mine] for column in truth[1:]))
        if len(part) or (inside is not None and len(inside.after)):
            yield Batch(part, inside)


def _joined(first: Block, second: Block) -> Block:
    if not len(first.records) and first.truth is None:
        return second
    records = np.concatenate((first.records, second.records))
    if first.truth is None and second.truth is None:
        return Block(records)
    if second.truth is None:
        return Block(records, first.truth)
    moved = second.truth._replace(after=second.truth.after + len(first.records))
    if first.truth is None:
        return Block(records, moved)
    both = (np.concatenate(pair) for pair in zip(first.truth, moved, strict=True))
    return Block(records, Truth(*both))


def _cut(block: Block, stop: int) -> tuple[Block, Block]:
    """The first `stop` records with the snapshots after them, and the rest."""
    early, late = block.records[:stop], block.records[stop:]
    if block.truth is None:
        return Block(early), Block(late)
    mine = block.truth.after <= stop
    rest = Truth(*(column[~mine] for column in block.truth))
    return (
        Block(early, Truth(*(column[mine] for column in block.truth))),
        Block(late, rest._replace(after=rest.after - stop)),
    )
