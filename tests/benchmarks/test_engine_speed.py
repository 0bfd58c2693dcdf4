"""The engine's figures under pytest-benchmark: `make bench` compares them with earlier runs.

Nothing here asserts a time. What a run computes is asserted, so that no wrong engine is fast.
"""

import numpy as np
import pytest

from mtsim.bench import zi1
from mtsim.bench.engine import CHUNK
from mtsim.bench.python_book import PythonBook
from mtsim.engine.batch import Books
from mtsim.engine.book import Book
from mtsim.engine.reference import ReferenceBook

pytestmark = pytest.mark.bench

SPEC = zi1.Spec(seed=5, prefill=2_000, timed=100_000, target=2_000)


@pytest.fixture(scope="module")
def stream():
    return zi1.generate(SPEC)


def chunks_of(messages):
    timed = messages[SPEC.prefill :]
    return [timed[start : start + CHUNK] for start in range(0, len(timed), CHUNK)]


@pytest.mark.parametrize("make_book", [Book, ReferenceBook], ids=["numba", "reference"])
def test_one_book(benchmark, stream, make_book):
    messages = zi1.to_messages(stream.rows)
    chunks = chunks_of(messages)

    def filled():
        book = make_book()
        book.process(messages[: SPEC.prefill])
        return (book,), {}

    def play(book):
        return [book.process(chunk) for chunk in chunks]

    outcomes = benchmark.pedantic(play, setup=filled, rounds=5, warmup_rounds=1)
    benchmark.extra_info["messages"] = SPEC.timed
    fills = np.concatenate([outcome.fills for outcome in outcomes])
    np.testing.assert_array_equal(zi1.to_fill_rows(fills), stream.fills)


def test_plain_python_book(benchmark, stream):
    chunks = [rows.tolist() for rows in chunks_of(stream.rows)]

    def filled():
        book = PythonBook()
        book.process(stream.rows[: SPEC.prefill].tolist())
        return (book,), {}

    def play(book):
        return [fill for chunk in chunks for fill in book.process(chunk)]

    fills = benchmark.pedantic(play, setup=filled, rounds=5, warmup_rounds=1)
    benchmark.extra_info["messages"] = SPEC.timed
    np.testing.assert_array_equal(np.array(fills, zi1.FILL_ROW_DTYPE), stream.fills)


@pytest.mark.parametrize("messages_each", [1, 64])
def test_many_books(benchmark, messages_each):
    """256 books with a stream each: a step is one message, or 64, on every book."""
    prefill, timed = 200, 256
    streams = [
        zi1.generate(zi1.Spec(seed=seed, prefill=prefill, timed=timed, target=prefill))
        for seed in range(1, 257)
    ]
    messages = np.stack([zi1.to_messages(stream.rows) for stream in streams])
    steps = [
        np.ascontiguousarray(messages[:, start : start + messages_each])
        for start in range(prefill, messages.shape[1], messages_each)
    ]

    def filled():
        books = Books(len(streams))
        books.step(messages[:, :prefill])
        return (books,), {}

    def play(books):
        return sum(len(books.step(step).fills) for step in steps)

    n_fills = benchmark.pedantic(play, setup=filled, rounds=5, warmup_rounds=1)
    benchmark.extra_info["messages"] = len(streams) * timed
    assert n_fills == sum(len(stream.fills) for stream in streams)
