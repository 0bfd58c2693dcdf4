"""A LOBSTER day of millions of rows from its two files into a store, under pytest-benchmark.

Nothing here asserts a time. What is stored is asserted, so that no wrong import is fast.
"""

import shutil
import statistics
import time
from pathlib import Path

import pytest

from mtsim.model.ingest import import_files
from mtsim.model.sources.base import Options
from mtsim.model.sources.lobster import open_sessions
from mtsim.model.store import Store
from tests.model.lobster_files import OPEN_S, LobsterDay, Market

pytestmark = pytest.mark.bench

ROWS = 5_000_000
DAY_ROWS = 20_000
LEVELS = 5
SESSION_NS = 23_400 * 10**9


@pytest.fixture(scope="module")
def day() -> LobsterDay:
    """A day that begins and ends with an empty book, so that it may be repeated."""
    market = Market(5, LEVELS, opening=0)
    market.run(DAY_ROWS)
    return market.empty()


@pytest.fixture(scope="module")
def messages(day, tmp_path_factory) -> Path:
    """The message file, its book file beside it: the day time and again, with new ids."""
    path = day.write(tmp_path_factory.mktemp("lobster"))
    book = path.with_name(path.name.replace("message", "orderbook"))
    book_rows = book.read_bytes()
    repeats = -(-ROWS // len(day.messages))
    last_ns = day.messages[-1][0] + 1
    with path.open("w") as file, book.open("wb") as book_file:
        for repeat in range(repeats):
            lines = []
            for time_ns, type_, order_id, *rest in day.messages:
                at_ns = (repeat * last_ns + time_ns) * SESSION_NS // (repeats * last_ns)
                second, ns = divmod(at_ns, 10**9)
                id_ = order_id + 10**6 * repeat if order_id > 0 else order_id
                cells = ",".join(map(str, (type_, id_, *rest)))
                lines.append(f"{OPEN_S + second}.{ns:09d},{cells}\n")
            file.write("".join(lines))
            book_file.write(book_rows)
    return path


def test_lobster_import(benchmark, day, messages, tmp_path):
    """All of it: hashed, read, executed, compared, judged and stored."""
    cpu_s = []

    def fresh():
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        return (Store(tmp_path / "store"),), {}

    def run(store):
        before = time.process_time()
        (done,) = import_files(open_sessions, (str(messages),), Options(), store)
        cpu_s.append(time.process_time() - before)
        return done

    done = benchmark.pedantic(run, setup=fresh, rounds=3, warmup_rounds=1)

    rows = -(-ROWS // len(day.messages)) * len(day.messages)
    benchmark.extra_info["rows"] = rows
    benchmark.extra_info["rows_per_cpu_s"] = round(rows / statistics.median(cpu_s[1:]))
    benchmark.extra_info["rows_per_s"] = round(rows / benchmark.stats.stats.median)
    manifest = done.stored.manifest
    assert manifest["counts"]["read"] == rows
    agreement = manifest["agreement"]
    assert agreement["touch_equal"] == agreement["snapshots"] > rows // 2
    assert agreement["equal"] == agreement["compared"] > rows // 1000
