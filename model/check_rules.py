"""The laws of a feed, what was found of each, and when that is an error.

Knows names, numbers and places; how a law is examined is in `check_snapshots`, `check_prints` and
`checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

import numpy as np

from mtsim.engine.units import EMPTY_ASK, EMPTY_BID
from mtsim.errors import DataError
from mtsim.model.sources.base import Session, Truth, place

Level = Literal["ok", "warning", "error", "none"]

FULL_LEVELS = 5
"""A snapshot with fewer levels a side may be a part of a book taken for the whole."""
SANE_RATIO = 5
"""Two estimates of one median spread may differ by this factor."""
DENSE_MESSAGES_PER_S = 50_000
"""More than this over a whole session is a unit of time misread, not a market."""
SPREAD_BLOCK = 4096
"""So many messages have one median spread to compare with those before."""
SUDDEN_RATIO = 3
"""By how much it may exceed them."""


class Rule(NamedTuple):
    """A law and what is made of a share of offences: above `error` the session is refused, above
    `warning` it is remarked. With fewer than `least` cases nothing is said."""

    law: str
    error: float | None
    warning: float = 0.0
    least: int = 1


RULES = {
    "time-order": Rule("time never goes back", 0.0),
    "time-of-day": Rule("all times lie within one day from the session's date on", 0.0),
    "time-density": Rule(
        f"on average at most {DENSE_MESSAGES_PER_S:,} messages a second; else the unit of time is "
        "misread",
        0.0,
    ),
    "gaps": Rule("the feed is complete: nothing is missing that it had to start anew after", None),
    "snapshot-sides": Rule("the best bid of a snapshot is below its best ask", 0.01),
    "snapshot-order": Rule(
        "bids descend and asks ascend strictly from level to level, without holes",
        0.0,
    ),
    "snapshot-sizes": Rule("every level of a snapshot has lots", 0.0),
    "snapshot-levels": Rule(
        "a snapshot is a whole book: it has no fewer levels than the messages built, up to "
        f"{FULL_LEVELS}",
        0.01,
        least=10,
    ),
    "levels-constant": Rule(
        "the number of levels of a snapshot is at least half of its median",
        None,
        warning=0.05,
        least=20,
    ),
    "depth-indexing": Rule(
        "level 0 of a snapshot is the touch, not a deeper level of the book",
        0.2,
        warning=0.05,
        least=10,
    ),
    "touch-agreement": Rule(
        "the touch of a snapshot is the touch of the book that the messages built",
        0.05,
        least=10,
    ),
    "book-agreement": Rule(
        "every level of a snapshot is that level of the book that the messages built",
        0.05,
        least=10,
    ),
    "spread-sanity": Rule(
        f"median spreads of snapshots, of the book and of the prints differ at most {SANE_RATIO} "
        "times",
        0.0,
    ),
    "spread-steady": Rule(
        f"the median spread of {SPREAD_BLOCK:,} messages is at most {SUDDEN_RATIO} times that of "
        "those before",
        None,
        warning=0.02,
    ),
    "buys-above-mid": Rule(
        "an aggressor who buys pays at least the mid before", 0.1, warning=0.02, least=20
    ),
    "sells-below-mid": Rule(
        "an aggressor who sells gets at most the mid before", 0.1, warning=0.02, least=20
    ),
    "prints-inside": Rule(
        "a print lies between the bid and the ask before it, or one tick beyond", 0.01, least=100
    ),
    "adds-rest": Rule("an order that the feed saw resting did not trade", 0.1, least=100),
    "duplicates": Rule("no order id is added while an order of that id rests", 0.0),
    "rejects": Rule("the engine executes what the feed observed", 0.01),
    "conservation": Rule("what aggressors traded is what their makers lost", 0.01),
    "depth-conservation": Rule("the lots of a side are its adds less its cancels and fills", 0.0),
    "imbalance-sign": Rule(
        "the mid moves away from the heavier side more often than towards it",
        None,
    ),
}


class Executed(NamedTuple):
    """One batch and what the engine made of it."""

    feed: np.ndarray  # FEED_DTYPE
    results: np.ndarray  # RESULT_DTYPE, one a message
    fills: np.ndarray  # FILL_DTYPE
    side_lots: tuple[int, int]
    """All lots of bids and of asks after the batch."""
    truth: Truth | None
    compared: np.ndarray  # int64 [c], the snapshots at which the engine's book was looked at
    tick: np.ndarray  # int32 [c, 2, L], its best levels there
    lots: np.ndarray  # int64 [c, 2, L]


@dataclass(frozen=True)
class Verdict:
    """What came of one check: how many cases were examined, how many broke the law, the first."""

    check: str
    level: Level
    """`none`: there was nothing, or too little, to judge by."""
    examined: int
    offences: int
    file: str
    row: int | None
    found: str

    def as_json(self) -> dict[str, Any]:
        """Without the folder of the file: a store knows no paths."""
        return {
            "check": self.check,
            "level": self.level,
            "examined": self.examined,
            "offences": self.offences,
            "file": PurePath(self.file).name,
            "row": self.row,
            "found": self.found,
        }

    def text(self) -> str:
        """The finding in one line, without its place."""
        return (
            f"[{self.check}] {RULES[self.check].law}: not so in {self.offences:,} of "
            f"{self.examined:,} cases; {self.found}"
        )


@dataclass
class Tally:
    """The cases of one check as they are counted; `row` is that of the first offence, as in the
    feed (`place`)."""

    examined: int = 0
    offences: int = 0
    row: int | None = None
    found: str = ""

    def see(self, bad: np.ndarray, rows: np.ndarray, says: Callable[[int], str]) -> None:
        """Count cases; `says` describes an offence by its index, asked for the session's first."""
        self.count(len(bad), int(np.count_nonzero(bad)), bad, rows, says)

    def count(
        self,
        examined: int,
        offences: int,
        bad: np.ndarray,
        rows: np.ndarray,
        says: Callable[[int], str],
    ) -> None:
        """`see` where a case counts for another number than one."""
        self.examined += examined
        self.offences += offences
        if offences and self.row is None:
            first = int(np.argmax(bad))
            self.row, self.found = int(rows[first]), says(first)


def verdict_of(check: str, tally: Tally, session: Session) -> Verdict:
    """What a tally means by the rule of its check."""
    rule = RULES[check]
    share = tally.offences / tally.examined if tally.examined else 0.0
    level: Level = "none" if tally.examined < rule.least else "ok"
    if rule.error is not None and share > rule.error and level == "ok":
        level = "error"
    elif share > rule.warning:
        level = "warning"
    # What is found of a session as a whole has no row.
    file, row = session.files[0], None
    if tally.row is not None:
        file, row = place(session.files, tally.row)
    return Verdict(check, level, tally.examined, tally.offences, file, row, tally.found)


def refusal(verdicts: list[Verdict]) -> DataError | None:
    """The DataError of the first verdict that is an error, with the names of the others."""
    errors = [verdict for verdict in verdicts if verdict.level == "error"]
    if not errors:
        return None
    others = ", ".join(verdict.check for verdict in errors[1:])
    hint = f"Also broken: {others}" if others else ""
    return DataError(errors[0].file, errors[0].row, errors[0].text(), hint)


def touch_text(pair: Sequence[int] | np.ndarray) -> str:
    """A bid and an ask tick as an error shows them."""
    bid, ask = (int(tick) for tick in pair)
    return f"{'no bid' if bid == EMPTY_BID else bid}/{'no ask' if ask == EMPTY_ASK else ask}"
