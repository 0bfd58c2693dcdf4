"""The records of a feed that tells every order, block by block, as batches of messages.

What happens at one time is taken together: the blocks of a source may end anywhere. Knows no vendor
format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mtsim.model.sources.base import Batch, Counts, Truth
from mtsim.model.sources.ledger import Ledger, Rules
from mtsim.model.sources.ledger_records import DROPPED, RECORD_DTYPE, Drop

# More records of one time are not waited for.
_LONGEST = 1 << 15

_CHANGED = "an unknown order cancelled or changed"
_DROPPED = DROPPED | {
    Drop.CANCEL: _CHANGED,
    Drop.FILL: "an unknown order executed",
}


class Block(NamedTuple):
    """Some records in order, and snapshots: `truth.after` counts records here, not messages."""

    records: np.ndarray
    truth: Truth | None = None


def batches(blocks: Iterable[Block], file: str, counts: Counts) -> Iterator[Batch]:
    """The messages of a feed's records, whose times never go back, and its snapshots among them.

    Writes `used`, `dropped` and `repaired` of `counts`. A matching event is only cut in two where
    more than `_LONGEST` records have its time. Snapshots inside an aggressive order are left out.
    """
    ledger = Ledger(Rules(in_turn=True), file=file)
    held = Block(np.empty(0, RECORD_DTYPE))
    for block in blocks:
        held = _joined(held, block)
        # The matching event at the end may go on in the next block.
        time_ns = held.records["time_ns"]
        stop = int(np.searchsorted(time_ns, time_ns[-1])) if len(time_ns) else 0
        if stop == 0 and len(time_ns) > _LONGEST:
            stop = len(time_ns)
        ready, held = _cut(held, stop)
        yield from _followed(ledger, ready, counts)
    yield from _followed(ledger, held, counts)
    counts.repaired.update(ledger.repaired())


def _followed(ledger: Ledger, block: Block, counts: Counts) -> Iterator[Batch]:
    for batch, outcome in ledger.follow(block.records, truth=block.truth):
        came_to = np.bincount(outcome, minlength=len(Drop))
        counts.used += int(came_to[Drop.USED])
        for drop, reason in _DROPPED.items():
            if came_to[drop]:
                counts.dropped[reason] += int(came_to[drop])
        yield batch


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
