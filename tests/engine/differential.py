"""Two books against each other: the same messages, the same answers row by row, the same books.

Knows no rule. As a program it is the long haul, resumable seed by seed:

    python -m tests.engine.differential --messages 1_000_000_000 --seeds 500 --record done.json
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mtsim.engine.base import OrderBook
from mtsim.engine.book import Book
from mtsim.engine.messages import FillKind, Kind, Reject
from mtsim.engine.reference import ReferenceBook
from mtsim.engine.units import Side
from tests.engine.streams import RandomStream, as_python, concatenated

# A stream draws a new mix after so many messages, and after so many the two books are compared.
BLOCK_MESSAGES = 10_000
CHUNK_MESSAGES = 1_000

# A divergence is shrunk until this many messages have been tried, some minutes.
SHRINK_MESSAGES = 10_000_000

MakeBook = Callable[[], OrderBook]

# As small as a book can be made, so that it moves its window and makes room at every turn.
CRAMPED: MakeBook = partial(Book, window=64, slots=1)


@dataclass
class Compared:
    """What two books were found to agree on."""

    messages: int = 0
    fills: int = 0
    books: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    rejects: Counter[Reject] = field(default_factory=Counter)
    fill_kinds: Counter[FillKind] = field(default_factory=Counter)

    def __add__(self, other: "Compared") -> "Compared":
        return Compared(
            self.messages + other.messages,
            self.fills + other.fills,
            self.books + other.books,
            self.kinds + other.kinds,
            self.rejects + other.rejects,
            self.fill_kinds + other.fill_kinds,
        )

    def __str__(self) -> str:
        return (
            f"compared {self.messages:,} messages ({self.rejects[Reject.NONE]:,} accepted), "
            f"{self.fills:,} fills and {self.books:,} whole books: 0 divergences"
        )


def compare(
    seed: int,
    n_messages: int,
    make_book: MakeBook | None = None,
    make_reference: MakeBook = ReferenceBook,
    effort_messages: int = SHRINK_MESSAGES,
) -> Compared:
    """Drive two books with one random stream; the Numba book of an odd seed is a cramped one.

    Raises AssertionError when they differ; with a minimal sequence, unless without effort.
    """
    make_book = make_book or (CRAMPED if seed % 2 else Book)
    book, reference = make_book(), make_reference()
    compared = Compared()
    for block in RandomStream(seed).blocks(n_messages, BLOCK_MESSAGES):
        for begin in range(0, len(block), CHUNK_MESSAGES):
            chunk = block[begin : begin + CHUNK_MESSAGES]
            results, fills, found = _step(book, reference, chunk)
            compared.messages += len(chunk)
            if found:
                where = f"{compared.messages - len(chunk)} to {compared.messages}"
                report = f"seed {seed}, within messages {where}: {found}"
                if effort_messages > 0:
                    stream = RandomStream(seed).blocks(n_messages, BLOCK_MESSAGES)
                    messages = concatenated(stream)[: compared.messages]
                    report += "\n" + explain(messages, make_book, make_reference, effort_messages)
                raise AssertionError(report)
            compared.books += 1
            compared.fills += len(fills)
            accepted = results["kind"][results["reject"] == Reject.NONE]
            compared.kinds += _counted(Kind, accepted)
            compared.rejects += _counted(Reject, results["reject"])
            compared.fill_kinds += _counted(FillKind, fills["kind"])
    return compared


def _counted(vocabulary: type[IntEnum], values: np.ndarray) -> Counter[Any]:
    counts = np.bincount(values, minlength=len(vocabulary)).tolist()
    return Counter({vocabulary(value): n for value, n in enumerate(counts) if n})


def explain(
    messages: np.ndarray,
    make_book: MakeBook = Book,
    make_reference: MakeBook = ReferenceBook,
    effort_messages: int = SHRINK_MESSAGES,
) -> str:
    """The shortest sequence found that still tells the two books apart, as Python, and how."""

    def differ(tried: np.ndarray) -> bool:
        return bool(_step(make_book(), make_reference(), tried)[2])

    if not differ(messages):
        return "Handed over at once, these messages do not tell the two apart."
    shortest = shrink(messages, differ, effort_messages)
    found = _step(make_book(), make_reference(), shortest)[2]
    return f"{len(shortest)} messages are enough:\n{as_python(shortest)}\n{found}"


def shrink(
    messages: np.ndarray, fails: Callable[[np.ndarray], bool], effort_messages: int
) -> np.ndarray:
    """Delta debugging: leave out ever smaller runs of messages for as long as the rest still fails.

    The result fails, and is minimal (no single message can be left out) unless the effort, counted
    in messages tried, ran out before.
    """
    effort = 0
    run = max(1, len(messages) // 2)
    while True:
        before = len(messages)
        begin = 0
        while begin < len(messages) and effort < effort_messages:
            without = np.delete(messages, slice(begin, begin + run))
            effort += len(without)
            if fails(without):
                messages = without
            else:
                begin += run
        if effort >= effort_messages or (run == 1 and len(messages) == before):
            return messages
        run = max(1, run // 2)


def _step(
    book: OrderBook, reference: OrderBook, messages: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """What the reference answers, and the first thing that the book says otherwise, or ''."""
    ours, right = book.process(messages), reference.process(messages)
    found = (
        _row_difference("results", ours.results, right.results)
        or _row_difference("fills", ours.fills, right.fills)
        or _book_difference(book, reference)
    )
    return right.results, right.fills, found


def _row_difference(name: str, ours: np.ndarray, right: np.ndarray) -> str:
    """Compares bytes, so that padding counts, too."""
    if ours.dtype == right.dtype and ours.tobytes() == right.tobytes():
        return ""
    common = min(len(ours), len(right))
    unequal = np.flatnonzero(ours[:common] != right[:common])
    row = int(unequal[0]) if len(unequal) else common
    return (
        f"{name} differ in row {row} of {len(ours)} and {len(right)}:\n"
        f"  book      {_named(ours, row)}\n  reference {_named(right, row)}"
    )


def _named(rows: np.ndarray, row: int) -> str:
    if row >= len(rows):
        return "no such row"
    return str(dict(zip(rows.dtype.names or (), rows[row].item(), strict=True)))


def _book_difference(book: OrderBook, reference: OrderBook) -> str:
    """The first question to which the two books give different answers, or a broken invariant."""
    for name, checked in (("book", book), ("reference", reference)):
        try:
            checked.check()
        except AssertionError as broken:
            return f"check() of the {name}: {broken}"
    resting = reference.resting()
    found = _row_difference("resting orders", book.resting(), resting)
    if found:
        return found
    for question, arguments in _questions(reference, resting):
        ours = getattr(book, question)(*arguments)
        right = getattr(reference, question)(*arguments)
        if ours != right:
            return f"{question}{arguments}: book {ours}, reference {right}"
    if book.phase != reference.phase:
        return f"phase: book {book.phase!r}, reference {reference.phase!r}"
    return ""


def _questions(book: OrderBook, resting: np.ndarray) -> list[tuple[str, tuple[Any, ...]]]:
    """Everything that a protocol's book can be asked, about its ends, its levels and its orders."""
    questions: list[tuple[str, tuple[Any, ...]]] = [("hash", ()), ("touch", ())]
    for side in Side:
        levels = book.depth(side, len(resting))
        questions += [("total_lots", (side,)), ("depth", (side, 3))]
        questions.append(("depth", (side, len(levels) + 2)))
        for price_tick, _ in levels[:2] + levels[-1:]:
            for asked in (price_tick, price_tick + 1):
                questions += [("lots_at", (side, asked)), ("orders_at", (side, asked))]
    n_asked = max(1, len(resting) // 8)
    questions += [
        ("queue_ahead", (order_id,)) for order_id in resting["order_id"][::n_asked].tolist()
    ]
    return questions


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.engine.differential", description=__doc__
    )
    parser.add_argument("--messages", type=int, default=10_000_000, help="of all seeds together")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--record", type=Path, help="of finished seeds, skipped next time")
    parser.add_argument("--no-shrink", action="store_true", help="report a divergence as found")
    arguments = parser.parse_args(argv)

    per_seed = -(-arguments.messages // arguments.seeds)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    done = _read_record(arguments.record, per_seed)
    left = [seed for seed in seeds if seed not in done]
    began = time.monotonic()
    # Spawned, not forked: a compiled engine may have threads.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=spawn) as pool:
        effort = 0 if arguments.no_shrink else SHRINK_MESSAGES
        futures = {
            pool.submit(compare, seed, per_seed, effort_messages=effort): seed for seed in left
        }
        for n_finished, future in enumerate(as_completed(futures), start=1):
            try:
                done[futures[future]] = future.result()
            except AssertionError as divergence:
                pool.shutdown(cancel_futures=True)
                sys.stdout.write(f"{divergence}\n")
                return 1
            _write_record(arguments.record, per_seed, done)
            per_second = n_finished * per_seed / (time.monotonic() - began)
            hours = (len(left) - n_finished) * per_seed / per_second / 3600
            sys.stderr.write(
                f"seed {futures[future]} done, {len(left) - n_finished} left, "
                f"{per_second:,.0f} messages/s, {hours:.2f} h to go\n"
            )
    total = sum((done[seed] for seed in seeds), Compared())
    sys.stdout.write(f"{len(seeds)} seeds: {total}\n")
    return 0


def _write_record(path: Path | None, n_messages: int, done: dict[int, Compared]) -> None:
    if path is None:
        return
    rows = [
        {
            "seed": seed,
            "n_messages": n_messages,
            "messages": compared.messages,
            "accepted": compared.rejects[Reject.NONE],
            "fills": compared.fills,
            "books": compared.books,
        }
        for seed, compared in sorted(done.items())
    ]
    # Whole or not at all: an interruption must not cost the hours that are recorded already.
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(rows, indent=0) + "\n")
    unfinished.replace(path)


def _read_record(path: Path | None, n_messages: int) -> dict[int, Compared]:
    """The seeds that an earlier run finished, with as many messages each."""
    if path is None or not path.exists():
        return {}
    return {
        row["seed"]: Compared(
            row["messages"],
            row["fills"],
            row["books"],
            rejects=Counter({Reject.NONE: row["accepted"]}),
        )
        for row in json.loads(path.read_text())
        if row["n_messages"] == n_messages
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
