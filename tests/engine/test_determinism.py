"""One digest: at any chunk size, on any number of threads, with and without bounds checks, compiled
just now or read from the cache. Fresh processes are the only honest witnesses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mtsim

# Prints a digest of all answers and books of a few random streams: alone, in chunks, in a batch.
WITNESS = """
import hashlib, json, sys
import numpy as np
from numba import config
from mtsim.engine import compiled
from mtsim.engine.batch import Books
from mtsim.engine.book import Book
from tests.engine.streams import RandomStream

chunk, threads = int(sys.argv[1]), int(sys.argv[2])
messages = np.stack([RandomStream(80_000 + seed).block(600) for seed in range(6)])
digest = hashlib.sha256()
for rows in messages:
    book = Book(window=64, slots=1)
    outcomes = [book.process(rows[at : at + chunk]) for at in range(0, len(rows), chunk)]
    digest.update(np.concatenate([outcome.results for outcome in outcomes]).tobytes())
    digest.update(np.concatenate([outcome.fills for outcome in outcomes]).tobytes())
    digest.update(book.hash().encode())
books = Books(6, slots=1)
for at in range(0, 600, 200):
    for array in books.step(messages[:, at : at + 200], threads=threads):
        digest.update(array.tobytes())
    digest.update(b"".join(array.tobytes() for array in books.depth(5)))
digest.update("".join(books.hash(n) for n in range(6)).encode())
print(json.dumps({
    "digest": digest.hexdigest(),
    "boundscheck": bool(config.BOUNDSCHECK),
    "from_cache": sum(compiled.run.stats.cache_hits.values()),
}))
"""


def witness(cache: Path, chunk: int = 600, threads: int = 1, **environment: str) -> dict:
    root = str(Path(mtsim.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", WITNESS, str(chunk), str(threads)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numba-cache")


@pytest.fixture(scope="module")
def first(cache: Path) -> dict:
    """What a process says that finds nothing compiled."""
    return witness(cache)


@pytest.mark.parametrize(("chunk", "threads"), [(600, 1), (1, 1), (37, 2), (250, 5)])
def test_a_later_process_says_the_same_from_the_cache(cache, first, chunk, threads):
    later = witness(cache, chunk, threads, NUMBA_NUM_THREADS="2")
    assert (first["from_cache"], later["from_cache"]) == (0, 1)
    assert later["digest"] == first["digest"]


def test_bounds_checks_find_nothing_and_change_nothing(cache, first):
    """Unchecked index bugs corrupt silently: here every index is checked."""
    checked = witness(cache, threads=2, NUMBA_BOUNDSCHECK="1")
    assert (first["boundscheck"], checked["boundscheck"]) == (False, True)
    # Not the code that was compiled without the checks, although it lies in the same cache.
    assert checked["from_cache"] == 0
    assert checked["digest"] == first["digest"]


def test_code_for_any_processor_says_the_same(cache, first):
    portable = witness(cache, NUMBA_CPU_NAME="generic")
    assert portable["from_cache"] == 0
    assert portable["digest"] == first["digest"]
