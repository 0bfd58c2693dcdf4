"""Replays of public workloads whose right answer is known, through the book and its public door.

The answer is a stream of text reports with a published SHA-256. A report line is built here from
nothing but the engine's results and fills, so the digest is right if and only if matching, results
and fills all are. Knows the workload's columns and the report format; times only the engine.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtsim.bench import machine
from mtsim.engine.base import OrderBook, Outcome
from mtsim.engine.messages import MESSAGE_DTYPE, Flag, Kind, Reject, TimeInForce
from mtsim.engine.units import MAX_LOTS, MAX_TICK, MIN_TICK
from mtsim.errors import IntegrityError, MissingError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

NEW, CANCEL, MODIFY = 0, 1, 2

# The kinds of reports, in the order in which those of one message are written.
ACK, FILL, CANCELLED, MODIFIED, CANCEL_REFUSED, MODIFY_REFUSED = range(6)

_INT64 = (-(2**63), 2**63 - 1)
# Allowed values by column; what a message does not use may hold anything.
_ALWAYS = {"type": (NEW, MODIFY), "side": (0, 1), "ioc": (0, 1), "seq": (0, _INT64[1])}
_OF_NEW = {"lots": (1, MAX_LOTS), "price_tick": (MIN_TICK, MAX_TICK), "order_id": (1, _INT64[1])}
_OF_MODIFY = {"lots": (1, MAX_LOTS), "price_tick": (MIN_TICK, MAX_TICK), "ioc": (0, 0)}
_COLUMNS = ("type", "side", "ioc", "lots", "seq", "order_id", "price_tick")

# Messages a call to the engine; reports are built from as many at a time, which bounds the memory.
_CHUNK = 8_192
_BLOCK = 1 << 17

# These workloads roam over tens of thousands of ticks with tens of thousands of live orders: the
# book gets the widest ladder there is, and room for that many orders before it has to grow.
_WINDOW = 65_536
_SLOTS = 65_536


@dataclass(frozen=True)
class OracleResult:
    """What a replay gave: the digest of its reports, and what the engine calls alone took."""

    path: str
    sha256: str
    messages: int
    reports: int
    fills: int
    refused: int
    ns_per_message_median: float
    ns_per_message_min: float
    ns_per_message: tuple[float, ...]

    def require(self, sha256: str) -> None:
        """IntegrityError unless the reports have this digest."""
        if self.sha256 != sha256.strip().lower():
            raise IntegrityError(
                f"{self.path}: the canonical reports have SHA-256 {self.sha256}, "
                f"expected {sha256.strip().lower()}"
            )


@dataclass(frozen=True)
class Workload:
    """A workload ready for an engine; `seq` numbers its messages in the reports."""

    seq: np.ndarray
    messages: np.ndarray


def replay(
    path: Path | str,
    *,
    repetitions: int = 5,
    pin: bool = True,
    make_book: Callable[[], OrderBook] | None = None,
    progress: Callable[[str], None] | None = None,
) -> OracleResult:
    """Replay a workload on a fresh book, `repetitions` times, and digest its reports.

    `make_book` is the Numba book when left out; `pin` keeps the process on one core meanwhile.
    MissingError or UsageError where the file is no workload (the message says which column of
    which row); IntegrityError where two repetitions differ.
    """
    say = progress or (lambda _: None)
    if repetitions < 1:
        raise UsageError(f"repetitions is {repetitions}: at least one is needed")
    say(f"reading {path}")
    workload = read(path)
    make_book = make_book or _numba_book()

    taken, digests, outcomes = [], set(), []
    with machine.pinned() if pin else nullcontext():
        # The first replay of a process loads and warms everything: it is not what is measured.
        for repetition in range(-1, repetitions):
            say("warming up" if repetition < 0 else f"replay {repetition + 1} of {repetitions}")
            outcomes, nanoseconds = _process(make_book(), workload.messages)
            taken.append(nanoseconds / max(1, len(workload.messages)))
            digests.add(_outcome_digest(outcomes))
    taken = taken[1:]
    if len(digests) != 1:
        raise IntegrityError(
            f"{path}: {len(digests)} different outcomes in {repetitions + 1} replays"
        )

    say("writing reports")
    digest, reports = hashlib.sha256(), 0
    for text, lines in report_blocks(workload, outcomes):
        digest.update(text)
        reports += lines
    results = [outcome.results for outcome in outcomes]
    return OracleResult(
        path=str(path),
        sha256=digest.hexdigest(),
        messages=len(workload.messages),
        reports=reports,
        fills=sum(len(outcome.fills) for outcome in outcomes),
        refused=sum(int(np.count_nonzero(rows["reject"])) for rows in results),
        ns_per_message_median=statistics.median(taken),
        ns_per_message_min=min(taken),
        ns_per_message=tuple(taken),
    )


def read(path: Path | str) -> Workload:
    """A Parquet file of the workload format as engine messages in the order of `seq`, all
    checked."""
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"{path}: no such file", "Name a Parquet file of the oracle format.")
    columns = _columns(path)
    _require_ranges(path, columns)
    order = np.argsort(columns["seq"], kind="stable")
    seq = columns["seq"][order]
    if (twice := seq[1:] == seq[:-1]).any():
        row = int(order[1:][twice][0])
        raise UsageError(f"{path}: row {row}: seq {columns['seq'][row]} was there before")
    return Workload(seq=seq, messages=_messages(columns)[order])


def _columns(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            missing = [name for name in _COLUMNS if name not in names]
            if missing:
                raise UsageError(
                    f"{path}: no column {', '.join(missing)}. A workload has "
                    f"{', '.join(_COLUMNS)}; this file has {', '.join(names)}."
                )
            table = file.read(columns=list(_COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: not a readable Parquet file: {error}") from error
    columns = {}
    for name in _COLUMNS:
        column = table.column(name)
        if not pa.types.is_integer(column.type):
            raise UsageError(f"{path}: column '{name}' holds {column.type}, integers are needed")
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise UsageError(f"{path}: row {row}: '{name}' is null")
        columns[name] = column.to_numpy()
    return columns


def _require_ranges(path: Path, columns: dict[str, np.ndarray]) -> None:
    kind = columns["type"]
    for which, limits in (
        (slice(None), _ALWAYS),
        (kind == NEW, _OF_NEW),
        (kind == MODIFY, _OF_MODIFY),
        (slice(None), {"order_id": _INT64}),
    ):
        rows = np.arange(len(kind))[which]
        for name, (low, high) in limits.items():
            values = columns[name][which]
            outside = (values < low) | (values > high)
            if outside.any():
                row = int(np.argmax(outside))
                raise UsageError(
                    f"{path}: row {rows[row]}: {name} is {values[row]}, allowed are {low} to {high}"
                )


def _messages(columns: dict[str, np.ndarray]) -> np.ndarray:
    kind = columns["type"]
    new, modify = kind == NEW, kind == MODIFY
    messages = np.zeros(len(kind), MESSAGE_DTYPE)
    messages["kind"] = np.array([Kind.LIMIT, Kind.CANCEL, Kind.REPLACE], np.uint8)[kind]
    messages["side"] = columns["side"]
    messages["tif"] = np.where(columns["ioc"] & new, TimeInForce.IOC, TimeInForce.GTC)
    # A modify of this format is a cancel and a new order: it never keeps its place.
    messages["flags"] = np.where(modify, Flag.LOSE_PLACE, Flag.NONE)
    messages["price_tick"] = np.where(new | modify, columns["price_tick"], 0)
    messages["lots"] = np.where(new | modify, columns["lots"], 0)
    messages["order_id"] = columns["order_id"]
    return messages


def _numba_book() -> Callable[[], OrderBook]:
    from mtsim.engine.book import Book

    return partial(Book, window=_WINDOW, slots=_SLOTS)


def _process(book: OrderBook, messages: np.ndarray) -> tuple[list[Outcome], int]:
    """The outcomes of all messages in chunks, and the nanoseconds that the engine took."""
    outcomes, nanoseconds = [], 0
    for start in range(0, max(1, len(messages)), _CHUNK):
        chunk = messages[start : start + _CHUNK]
        begun = time.perf_counter_ns()
        outcome = book.process(chunk)
        nanoseconds += time.perf_counter_ns() - begun
        outcomes.append(outcome)
    return outcomes, nanoseconds


def _outcome_digest(outcomes: list[Outcome]) -> bytes:
    digest = hashlib.sha256()
    for outcome in outcomes:
        digest.update(outcome.results.tobytes())
        digest.update(outcome.fills.tobytes())
    return digest.digest()


def report_blocks(workload: Workload, outcomes: list[Outcome]) -> Iterator[tuple[bytes, int]]:
    """The canonical report stream in pieces, and the number of lines in each."""
    results = np.concatenate([outcome.results for outcome in outcomes])
    fills = np.concatenate([outcome.fills for outcome in outcomes])
    end_fill = np.cumsum(results["n_fills"])
    first_fill, begun = 0, False
    for start in range(0, len(results), _BLOCK):
        block = slice(start, start + _BLOCK)
        last_fill = int(end_fill[block][-1])
        lines = _report_lines(
            workload.seq[block],
            workload.messages[block],
            results[block],
            fills[first_fill:last_fill],
        )
        first_fill = last_fill
        if len(lines):
            # The stream has newlines between lines only, so every piece but the first begins with
            # one.
            yield (b"\n" if begun else b"") + _joined(lines), len(lines)
            begun = True


def _report_lines(
    seq: np.ndarray, messages: np.ndarray, results: np.ndarray, fills: np.ndarray
) -> pa.StringArray:
    """The reports of a run of messages. A message has, in this order: an ack where it was an
    accepted new order, its fills, and one line that says how it ended where that is to be said."""
    import pyarrow as pa

    accepted, kind = results["reject"] == Reject.NONE, results["kind"]
    acked = accepted & (kind == Kind.LIMIT)
    remainder = acked & (messages["tif"] == TimeInForce.IOC) & (results["cancelled_lots"] > 0)
    ending = np.full(len(results), -1)
    ending[remainder | (accepted & (kind == Kind.CANCEL))] = CANCELLED
    ending[accepted & (kind == Kind.REPLACE)] = MODIFIED
    ending[~accepted & (kind == Kind.CANCEL)] = CANCEL_REFUSED
    ending[~accepted & (kind == Kind.REPLACE)] = MODIFY_REFUSED

    n_fills = results["n_fills"]
    of_fills = np.repeat(np.arange(len(results)), n_fills)
    end_line = np.cumsum(acked + n_fills + (ending >= 0))
    first_line = end_line - acked - n_fills - (ending >= 0)
    nth_fill = np.arange(len(fills)) - np.repeat(np.cumsum(n_fills) - n_fills, n_fills)

    named = {
        "seq": seq,
        "side": results["side"],
        "order_id": results["order_id"],
        "price_tick": results["price_tick"],
        "lots": messages["lots"],
    }

    def ended(how: int, *names: str) -> tuple[np.ndarray, pa.StringArray]:
        rows = np.flatnonzero(ending == how)
        return end_line[rows] - 1, _lines(how, *(named[name][rows] for name in names))

    rows = np.flatnonzero(acked)
    groups = [
        (first_line[rows], _lines(ACK, *(column[rows] for column in named.values()))),
        (
            (first_line + acked)[of_fills] + nth_fill,
            _lines(
                FILL,
                seq[of_fills],
                *(fills[name] for name in ("price_tick", "lots", "maker_id", "taker_id")),
            ),
        ),
        ended(CANCELLED, "seq", "side", "order_id", "price_tick"),
        ended(MODIFIED, *named),
        ended(CANCEL_REFUSED, "seq", "order_id"),
        ended(MODIFY_REFUSED, "seq", "order_id"),
    ]
    place = np.concatenate([places for places, _ in groups])
    order = np.empty(len(place), np.int64)
    order[place] = np.arange(len(place))
    return pa.concat_arrays([lines for _, lines in groups]).take(pa.array(order))


def _lines(kind: int, *columns: np.ndarray) -> pa.StringArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [pa.array(np.ascontiguousarray(column)).cast(pa.string()) for column in columns]
    return pc.call_function(
        "binary_join_element_wise", [pa.scalar(str(kind)), *texts, pa.scalar(",")]
    )


def _joined(lines: pa.StringArray) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    all_lines = pa.ListArray.from_arrays([0, len(lines)], lines)
    return pc.call_function("binary_join", [all_lines, pa.scalar("\n")])[0].as_py().encode()
