"""How fast the closed loop is: whole events a second, and the engine's share of their time.

Every row is checked before it is one: each repetition must end in the same books, and so must the
engine alone, executing the same messages. Timed is `World.advance` with its rows going to a tape in
memory. On one thread times are the processor's, on more they are the clock's. Knows no command line
and prints nothing.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

import mtsim
from mtsim.bench import machine
from mtsim.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from mtsim.engine.batch import Books
    from mtsim.engine.tape import Tape
    from mtsim.flow.base import Flow
    from mtsim.world.world import World

BOOKS = (1, 64, 1024)
THREADS = (1, 2)

# Messages of all worlds together that are timed, and of each world before that.
EVENTS = 2**20
WARM_UP = 1_000

Progress = Callable[[str], None]


def run(
    *,
    repetitions: int = 7,
    events: int = EVENTS,
    books: tuple[int, ...] = BOOKS,
    pin: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure every flow; a dictionary of JSON values.

    "rows" are {"flow", "books", "threads", "events", "events_per_s" (median), "events_per_s_min",
    "events_per_s_max", "engine_share"}: `engine_share` is the time of the engine alone as part of
    the loop's, medians of neighbours in time, and None on several threads.
    """
    if repetitions < 1:
        raise UsageError(f"repetitions is {repetitions}: at least one is needed")
    load_before = machine.load_average()
    rows = []
    for name, make in flows().items():
        for n_books in books:
            for threads in THREADS:
                if threads > min(n_books, _threads_available()):
                    continue
                if progress:
                    progress(f"{name}, {n_books:,} books, {threads} threads")
                with machine.pinned() if pin and threads == 1 else nullcontext():
                    measured = measure(make(), n_books, events // n_books, threads, repetitions)
                rows.append({"flow": name, "books": n_books, "threads": threads, **measured})
    return {
        "benchmark": "loop",
        "mtsim": mtsim.__version__,
        "repetitions": repetitions,
        "recorded": True,
        "rows": rows,
        "machine": {
            **machine.describe(),
            "load_before": load_before,
            "load_after": machine.load_average(),
        },
    }


def flows() -> dict[str, Callable[[], Flow]]:
    """What makes the flow of each name: with the parameters of scenarios/base.yaml, or built in."""
    from mtsim.flow import hawkes_built_in, queue_reactive
    from mtsim.flow.sizes import Sizes
    from mtsim.flow.zero_intelligence import ZeroIntelligence

    def zero_intelligence() -> Flow:
        sizes = Sizes.of_quantiles(lambda unit: 5 * math.exp(0.8 * NormalDist().inv_cdf(unit)))
        return ZeroIntelligence(0.5, 2.0, 0.05, 50, sizes)

    return {
        "zero_intelligence": zero_intelligence,
        "hawkes": lambda: hawkes_built_in.built_in(9_999),
        "queue_reactive": lambda: queue_reactive.built_in(9_999),
    }


def measure(
    flow: Flow, n_books: int, events_each: int, threads: int, repetitions: int
) -> dict[str, Any]:
    """One row without its names. The first run, which may compile, counts for nothing."""
    clock = time.process_time if threads == 1 else time.perf_counter
    start = _started(flow, n_books)
    rates, shares, hashes = [], [], set()
    for repetition in range(repetitions + 1):
        world, tape = _again(start, flow)
        begun = clock()
        world.advance(events=events_each, threads=threads)
        seconds = clock() - begun
        hashes.add(tape.hash())
        alone = start.books.copy()
        engine_seconds = engine_alone(alone, tape) if threads == 1 else None
        if engine_seconds is not None and _hashes(alone) != _hashes(world.books):
            raise IntegrityError("the engine alone ends in other books than the loop")
        if repetition == 0:
            continue
        rates.append(n_books * events_each / seconds)
        if engine_seconds is not None:
            shares.append(engine_seconds / seconds)
    if len(hashes) != 1:
        raise IntegrityError(f"{repetitions} repetitions wrote {len(hashes)} different tapes")
    return {
        "events": n_books * events_each,
        "events_per_s": round(statistics.median(rates)),
        "events_per_s_min": round(min(rates)),
        "events_per_s_max": round(max(rates)),
        "engine_share": round(statistics.median(shares), 3) if shares else None,
    }


def engine_alone(books: Books, tape: Tape) -> float:
    """Processor seconds in which a compiled loop executes the messages of a tape, and no more."""
    from mtsim.bench.loop_engine import execute_all
    from mtsim.engine.drive import DONE, Drive

    drive, seconds = Drive(books), 0.0
    for book, stream in enumerate(tape.streams()):
        rows, row = np.ascontiguousarray(stream.messages).view(np.int64), 0
        while row < len(stream.messages):
            begun = time.process_time()
            row, status = execute_all(drive.arrays(), book, rows, row)
            seconds += time.process_time() - begun
            if status != DONE:
                drive.make_room(book, status)
    return seconds


def table(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, median, best, engine's share) rows of a result, for people."""
    rows = []
    for row in result["rows"]:
        threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
        share = "" if row["engine_share"] is None else f"{row['engine_share']:.0%}"
        what = f"{row['flow']}, {row['books']:,} books, {threads}"
        rows.append((what, _rate(row["events_per_s"]), _rate(row["events_per_s_max"]), share))
    return rows


def _started(flow: Flow, n_books: int) -> World:
    """Worlds some way into their session."""
    from mtsim.engine.batch import Books
    from mtsim.world.opening import synthetic
    from mtsim.world.world import World

    world = World(Books(n_books, slots=2047), flow, seed=1)
    world.open(synthetic(mid_tick=10_000, spread=2, levels=50, orders_per_level=10, lots=5))
    world.advance(events=WARM_UP)
    return world


def _again(start: World, flow: Flow) -> tuple[World, Tape]:
    """The same worlds once more, to be recorded from here on."""
    from mtsim.engine.batch import Books
    from mtsim.engine.tape import Tape
    from mtsim.world.world import World

    world = World(Books(len(start), slots=2047), flow, seed=1)
    for b in range(len(start)):
        world.restore(b, start.snapshot(b))
    tape = Tape(seeds={"seed": 1}, config={}, books=len(start))
    world.record(tape)
    return world, tape


def _hashes(books: Books) -> list[str]:
    return [books.hash(book) for book in range(len(books))]


def _rate(events_per_s: float) -> str:
    return f"{events_per_s / 1e6:.2f} M/s"


def _threads_available() -> int:
    import numba

    return numba.get_num_threads()
