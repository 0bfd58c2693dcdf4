"""How fast the engine is: `zi1` on one book, many books at once, beside a book in plain Python.

Every figure is checked before it is one: the fills of each run must be those of the stream's
specification, or IntegrityError. Timed is the public door only, all outputs on; what is prepared
(streams, prefill, chunks) is not. Knows no command line and prints nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import mtsim
from mtsim.bench import machine, zi1
from mtsim.bench.python_book import PythonBook
from mtsim.engine.base import OrderBook
from mtsim.errors import IntegrityError, UsageError

# (books, messages each) of the batched runs, each on every number of threads.
BATCHES = ((1024, 1), (1024, 64), (64, 1))
THREADS = (1, 2)

# Messages a call, and the room for orders that a book for `zi1` is made with.
CHUNK = 16_384
SLOTS = 16_384

# The plain-Python book is at its best with fewer: their tuples stay in the cache.
_PYTHON_CHUNK = 8_192

# Each book of a batch has a stream of its own: 400 adds to fill it, then 256 messages to time.
_BATCH_PREFILL = 400
_BATCH_TIMED = 256

Progress = Callable[[str], None]


def run(
    *,
    spec: zi1.Spec = zi1.ZI1,
    repetitions: int = 7,
    batches: bool = True,
    starts: bool = True,
    pin: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the engine; a dictionary of JSON values.

    Any `spec` but the default is for trying the benchmark out: its figures are not those of zi1.
    `batches` and `starts` may be left out for speed; then "batch" is empty and the starts are
    None. Times are in nanoseconds a message, the plain-Python book's and the engine's runs taking
    turns. IntegrityError when a stream or the fills of any run are not what they must be.
    """
    if repetitions < 1:
        raise UsageError(f"repetitions is {repetitions}: at least one is needed")
    from mtsim.engine.book import Book

    make_book = partial(Book, slots=SLOTS)
    say = progress or (lambda _: None)
    load_before = machine.load_average()
    say("making the stream zi1")
    stream = zi1.stream(spec)

    with machine.pinned() if pin else nullcontext() as core:
        say("warming up")
        one_book(stream, spec.prefill, make_book)
        engine, python = [], []
        for repetition in range(repetitions):
            say(f"zi1, {repetition + 1} of {repetitions}")
            engine.append(one_book(stream, spec.prefill, make_book))
            python.append(python_book(stream, spec.prefill))

    result: dict[str, Any] = {
        "benchmark": "engine",
        "mtsim": mtsim.__version__,
        "zi1_messages_sha256": zi1.sha256(stream.rows),
        "zi1_fills_sha256": zi1.sha256(stream.fills),
        "messages": spec.timed,
        "chunk": CHUNK,
        "repetitions": repetitions,
        **_spread("ns_per_message", engine),
        **_spread("python_ns_per_message", python),
        # Neighbours in time were disturbed alike, so each pair gives a ratio.
        "ratio_to_python": round(
            statistics.median(slow / fast for slow, fast in zip(python, engine, strict=True)), 2
        ),
        "batch": many_books(repetitions, pin=pin, progress=progress) if batches else [],
        "cold_start_s": None,
        "warm_start_s": None,
    }
    if starts:
        say("starting cold and warm")
        result |= start_times()
    return result | {
        "machine": {
            **machine.describe(),
            "pinned_to_core": core,
            "load_before": load_before,
            "load_after": machine.load_average(),
        }
    }


def one_book(stream: zi1.Stream, prefill: int, make_book: Callable[[], OrderBook]) -> float:
    """Nanoseconds a message for what follows the prefill on one book, fills checked."""
    messages, book = zi1.to_messages(stream.rows), make_book()
    fills = [book.process(messages[:prefill]).fills]
    nanoseconds = 0
    for start in range(prefill, len(messages), CHUNK):
        chunk = messages[start : start + CHUNK]
        begun = time.perf_counter_ns()
        outcome = book.process(chunk)
        nanoseconds += time.perf_counter_ns() - begun
        fills.append(outcome.fills)
    _require_fills("zi1", zi1.to_fill_rows(np.concatenate(fills)), stream.fills)
    return nanoseconds / (len(messages) - prefill)


def python_book(stream: zi1.Stream, prefill: int) -> float:
    """The same for the plain-Python book. Turning rows into tuples is not timed: it is kind."""
    book = PythonBook()
    fills = book.process(stream.rows[:prefill].tolist())
    nanoseconds = 0
    for start in range(prefill, len(stream.rows), _PYTHON_CHUNK):
        rows = stream.rows[start : start + _PYTHON_CHUNK].tolist()
        begun = time.perf_counter_ns()
        found = book.process(rows)
        nanoseconds += time.perf_counter_ns() - begun
        fills += found
    _require_fills("plain Python", np.array(fills, zi1.FILL_ROW_DTYPE), stream.fills)
    return nanoseconds / (len(stream.rows) - prefill)


def many_books(
    repetitions: int = 7, *, pin: bool = True, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """One entry for each of BATCHES and THREADS that the machine can run: {"books",
    "messages_each", "threads", "ns" (median a message), "ns_min", "ns_max"}."""
    say = progress or (lambda _: None)
    say("making a stream for each of many books")
    most = max(books for books, _ in BATCHES)
    streams = [zi1.generate(_batch_spec(book)) for book in range(most)]
    cases = [
        (books, messages_each, threads)
        for books, messages_each in BATCHES
        for threads in THREADS
        if threads <= _threads_available()
    ]
    taken: dict[tuple[int, int, int], list[float]] = {case: [] for case in cases}
    for repetition in range(repetitions):
        say(f"many books, {repetition + 1} of {repetitions}")
        for case in cases:
            # A pinned process would have its threads share the one core.
            with machine.pinned() if pin and case[2] == 1 else nullcontext():
                taken[case].append(_batch(streams[: case[0]], *case[1:]))
    return [
        {
            "books": books,
            "messages_each": messages_each,
            "threads": threads,
            "ns": round(statistics.median(times), 2),
            "ns_min": round(min(times), 2),
            "ns_max": round(max(times), 2),
        }
        for (books, messages_each, threads), times in taken.items()
    ]


def start_times() -> dict[str, float]:
    """Seconds from the start of a process to its first processed message, with an empty and with a
    filled compilation cache, and the part of it that imports take."""
    with tempfile.TemporaryDirectory(prefix="mtsim-bench-") as cache:
        cold = _start(cache)
        warm = [_start(cache) for _ in range(5)]
    return {
        "cold_start_s": cold["total_s"],
        "warm_start_s": statistics.median(start["total_s"] for start in warm),
        "warm_start_import_s": statistics.median(start["import_s"] for start in warm),
    }


def table(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, median, best) rows of a result, for people."""
    rows = [
        ("zi1, one book", _ns(result["ns_per_message_median"]), _ns(result["ns_per_message_min"])),
        (
            "zi1, plain Python",
            _ns(result["python_ns_per_message_median"]),
            _ns(result["python_ns_per_message_min"]),
        ),
        ("times faster than plain Python", f"{result['ratio_to_python']:.1f}", ""),
    ]
    for batch in result["batch"]:
        threads = "1 thread" if batch["threads"] == 1 else f"{batch['threads']} threads"
        what = f"{batch['books']:,} books x {batch['messages_each']}, {threads}"
        rows.append((what, _ns(batch["ns"]), _ns(batch["ns_min"])))
    if result["cold_start_s"] is not None:
        rows.append(("first message, cold cache", f"{result['cold_start_s']:.2f} s", ""))
        rows.append(("first message, warm cache", f"{result['warm_start_s']:.2f} s", ""))
    return rows


def _ns(value: float) -> str:
    return f"{value:.1f} ns"


def _spread(name: str, values: list[float]) -> dict[str, Any]:
    return {
        f"{name}_median": round(statistics.median(values), 3),
        f"{name}_min": round(min(values), 3),
        f"{name}_max": round(max(values), 3),
    }


def _require_fills(what: str, found: np.ndarray, expected: np.ndarray) -> None:
    if not np.array_equal(found, expected):
        raise IntegrityError(
            f"{what}: fills have SHA-256 {zi1.sha256(found)}, right is {zi1.sha256(expected)}"
        )


def _batch_spec(book: int) -> zi1.Spec:
    return zi1.Spec(
        seed=book + 1, prefill=_BATCH_PREFILL, timed=_BATCH_TIMED, target=_BATCH_PREFILL
    )


def _batch(streams: list[zi1.Stream], messages_each: int, threads: int) -> float:
    """Nanoseconds a message when all books step together, `messages_each` a step."""
    from mtsim.engine.batch import Books

    messages = np.stack([zi1.to_messages(stream.rows) for stream in streams])
    chunks = [
        np.ascontiguousarray(messages[:, start : start + messages_each])
        for start in range(_BATCH_PREFILL, messages.shape[1], messages_each)
    ]
    books = Books(len(streams), slots=2 * _BATCH_PREFILL)
    step = books.step(messages[:, :_BATCH_PREFILL])
    answers = [(step.fills.copy(), np.diff(step.fill_starts))]
    nanoseconds = 0
    for chunk in chunks:
        begun = time.perf_counter_ns()
        step = books.step(chunk, threads=threads)
        nanoseconds += time.perf_counter_ns() - begun
        answers.append((step.fills.copy(), np.diff(step.fill_starts)))

    fills = np.concatenate([fills for fills, _ in answers])
    book_of_fill = np.concatenate([np.repeat(np.arange(len(books)), n) for _, n in answers])
    found = zi1.to_fill_rows(fills[np.argsort(book_of_fill, kind="stable")])
    expected = np.concatenate([stream.fills for stream in streams])
    _require_fills(f"{len(streams)} books x {messages_each}", found, expected)
    return nanoseconds / (len(streams) * _BATCH_TIMED)


def _threads_available() -> int:
    import numba

    return numba.get_num_threads()


_START = """
import time
import numpy as np
from mtsim.engine.book import Book
from mtsim.engine.messages import MESSAGE_DTYPE, Kind
imported = time.time_ns()
message = np.zeros(1, MESSAGE_DTYPE)
message["kind"], message["lots"], message["order_id"] = Kind.LIMIT, 1, 1
outcome = Book().process(message)
done = time.time_ns()
assert outcome.results["resting_lots"][0] == 1
import json
print(json.dumps({"imported": imported, "done": done}))
"""


def _start(cache: str) -> dict[str, float]:
    # The parent's package, wherever it lies, and none of its compiled code.
    root = str(Path(mtsim.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": path}
    # The wall clock, since it is one clock for both processes on every system.
    begun = time.time_ns()
    done = subprocess.run(
        [sys.executable, "-c", _START], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise IntegrityError(f"a fresh process could not process one message:\n{done.stderr}")
    stages = json.loads(done.stdout)
    return {
        "import_s": round((stages["imported"] - begun) / 1e9, 3),
        "total_s": round((stages["done"] - begun) / 1e9, 3),
    }
