"""The seam of the data: what every source of market activity gives, whoever wrote the file.

A source turns records into messages that the matching engine executes: what the engine answers is
then one event (`mtsim.engine.events`), and the book it holds is what the feed's own snapshots are
held against. Knows no vendor format and no store.

Rules that every source keeps:

- Prices and sizes become ticks and lots exactly, or the row is an error: nothing is rounded.
- The records of one matching event become **one** aggressive order (side, total lots, worst price):
  a LIMIT with IOC. What it executed is not sent as cancels as well; other cancels are true cancels.
- Orders keep the feed's ids. An order the feed has no id for gets one of `OWN_IDS` and up.
- What is dropped is counted by reason; nothing is dropped silently.
- Time never goes back. Rows that do are an error, unless the source says how it sorts them.
- Memory is bounded: batches of at most `BATCH_ROWS` rows, whatever the size of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.errors import DataError

BATCH_ROWS = 1 << 17

# Ids that no feed uses: for aggressors and for orders whose own id the feed does not tell.
OWN_IDS = 2**62

# A `row` is the number of its file among the session's above these bits, and below them the row of
# that file (from 1; the byte offset in a binary file). Rows of the first file are thus themselves.
ROW_BITS = 40

_Rows = TypeVar("_Rows", int, np.ndarray)


def in_file(number: int, row: _Rows) -> _Rows:
    """The `row` of a record that stands at this row of file `number` (from 0) of a session."""
    return row | (number << ROW_BITS)


def place(files: Sequence[str], row: int) -> tuple[str, int]:
    """The file of a session's `files` that a `row` is of, and the row within it."""
    return files[row >> ROW_BITS], int(row & ((1 << ROW_BITS) - 1))


class NoSession(DataError):
    """A file of the right kind that holds nothing to make a session of, such as a capture of one
    message. Asked for by name it is an error; in a folder it is passed over with this reason."""


FEED_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("row", "<i8"),
        ("message", MESSAGE_DTYPE),
        ("origin", "u1"),
        ("padding", "u1", (7,)),
    ]
)
"""One message of a feed, 56 bytes: when it happened (from the session's start), the `row` that it
comes from (see `place`), its `mtsim.engine.events.Origin`."""


class Truth(NamedTuple):
    """Books that the feed itself supplies, as evidence independent of the messages.

    n snapshots, two sides (bid, ask), the best L levels of each, best first; 0 lots where there is
    no level. Snapshot k shows the book after the first `after[k]` messages of its batch.
    """

    after: np.ndarray  # int64 [n]
    row: np.ndarray  # int64 [n], where the snapshot stands (see `place`)
    tick: np.ndarray  # int32 [n, 2, L]
    lots: np.ndarray  # int64 [n, 2, L]


class Batch(NamedTuple):
    """Some messages in order, and the snapshots among them (None where the feed has none here)."""

    feed: np.ndarray  # FEED_DTYPE
    truth: Truth | None = None


@dataclass(frozen=True)
class Instrument:
    """What trades. One tick and one lot are exact decimals of price and quantity."""

    symbol: str
    venue: str
    tick_size: Decimal
    lot_size: Decimal
    currency: str = "USD"


@dataclass(frozen=True)
class Session:
    """One instrument on one day at one venue, and what is assumed about its feed."""

    instrument: Instrument
    date: date
    source: str
    """The kind of source, as on the command line: `lobster`, `itch`, ..."""
    files: tuple[str, ...]
    start_ns: int = 0
    """Time of day, in `timezone`, that `time_ns` counts from."""
    timezone: str = "UTC"
    by_order: bool = True
    """Whether the feed tells orders apart; without, orders are inferred from levels."""
    truth_levels: int = 0
    """How many best levels of its snapshots the messages must explain."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed to make messages of this feed, one sentence each."""


@dataclass
class Counts:
    """What became of the records: `read` = `used` + all that was dropped, by reason."""

    read: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    """Messages that the feed does not have and the book needs, by reason (origin INFERRED)."""
    noticed: Counter[str] = field(default_factory=Counter)
    """What is remarkable about the records and makes none more or less, by reason: ids that are
    missing between them, times that were moved."""


class Source(Protocol):
    """One session of a feed, read once, from front to back."""

    session: Session
    counts: Counts
    """Complete when the last batch has been taken."""

    def batches(self) -> Iterator[Batch]:
        """The session's messages in order. Raises DataError naming file and row."""
        ...


@dataclass(frozen=True)
class Options:
    """What a user says about files that do not say it. None: the source's own default."""

    symbol: str | None = None
    date: date | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    venue: str | None = None


class OpenSource(Protocol):
    """How a vendor module offers its sources: a function `open_sessions`."""

    def __call__(self, files: tuple[str, ...], options: Options) -> Iterator[Source]:
        """The sessions of these files, in order; each is read to its end before the next one.

        Raises MissingError for a file that is not there or an extra that is not installed,
        DataError for what is no such file, NoSession for what holds no session, UsageError for an
        option that is needed and missing.
        """
        ...
