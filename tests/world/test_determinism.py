"""One seed, one tape: in every process, alone and among others, on threads, in any memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mtsim
from mtsim.engine.tape import replay
from mtsim.world.latency import Delay, Latency
from tests.world.worlds import SECOND_NS, disturb, make_world, market, tape_of

SLOW = {1: Latency(entry=Delay(50_000_000, 1.0))}

# Prints the hash of a tape with an agent on it.
WITNESS = """
from tests.world.test_determinism import SLOW
from tests.world.worlds import disturb, make_world
world = make_world(2, agents=1, latency=SLOW)
disturb(world)
print(world.tape.hash())
"""


def disturbed(n_worlds: int = 2, **options):
    world = make_world(n_worlds, agents=1, latency=SLOW, **options)
    disturb(world)
    return world


@pytest.fixture(scope="module")
def tape_hash():
    return disturbed().tape.hash()


def test_the_same_seed_gives_the_same_tape(tape_hash):
    assert disturbed().tape.hash() == tape_hash


def test_another_seed_gives_another_tape(tape_hash):
    assert disturbed(seed=8).tape.hash() != tape_hash


def witnessed(**environment: str) -> str:
    """The hash of the tape that a fresh process writes."""
    root = str(Path(mtsim.__file__).parents[1])
    witness = subprocess.run(
        [sys.executable, "-c", WITNESS],
        env={**os.environ, "PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return witness.stdout.strip()


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_every_process_writes_the_same_tape(hash_seed, tape_hash):
    assert witnessed(PYTHONHASHSEED=hash_seed) == tape_hash


@pytest.mark.slow
@pytest.mark.parametrize("boundscheck", ["0", "1"])
def test_compiled_just_now_or_cached_with_and_without_bounds_checks(
    boundscheck, tape_hash, tmp_path
):
    for _ in ("cold", "warm"):
        found = witnessed(NUMBA_BOUNDSCHECK=boundscheck, NUMBA_CACHE_DIR=str(tmp_path))
        assert found == tape_hash


@pytest.mark.parametrize("n_worlds", [3, 8, 64])
def test_a_world_alone_is_the_same_world_among_others(n_worlds):
    together = disturbed(n_worlds)
    for b in {0, 1, n_worlds // 2, n_worlds - 1}:
        alone = disturbed(1, first_world=b)
        assert alone.tape.stream_hash(0) == together.tape.stream_hash(b)
        assert alone.hash(0) == together.hash(b)
    assert len({together.tape.stream_hash(b) for b in range(n_worlds)}) == n_worlds


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads, monkeypatch):
    """Books and flows grow while other threads are on their way."""
    monkeypatch.setattr("mtsim.flow.agenda._FIRST_ROOM", 2)
    one, many = make_world(6, slots=1), make_world(6, slots=1)
    assert (
        one.advance(60 * SECOND_NS).tolist()
        == many.advance(60 * SECOND_NS, threads=threads).tolist()
    )
    assert one.tape.hash() == many.tape.hash()


@pytest.mark.parametrize("options", [{"buffer_rows": 1}, {"buffer_rows": 100}, {"slots": 1}])
def test_small_memory_changes_nothing(options, tape_hash):
    assert disturbed(**options).tape.hash() == tape_hash


def test_a_flow_that_grows_changes_nothing(monkeypatch, tape_hash):
    """With room for two orders at first, the flow asks for more nine times."""
    monkeypatch.setattr("mtsim.flow.agenda._FIRST_ROOM", 2)
    world = disturbed()
    assert world.tape.hash() == tape_hash
    assert world.state_i.shape[1] > 200


def test_recording_changes_nothing(tape_hash):
    recorded, silent = disturbed(), disturbed(is_recorded=False)
    assert [recorded.hash(b) for b in range(2)] == [silent.hash(b) for b in range(2)]


def test_where_the_stops_are_changes_nothing():
    whole, pieces = make_world(2), make_world(2)
    whole.advance(20 * SECOND_NS)
    for end_ns in range(0, 20 * SECOND_NS, 70_000_001):
        pieces.advance(end_ns)
        pieces.advance(end_ns + 1000, worlds=np.array([end_ns % 2]))
    pieces.advance(20 * SECOND_NS)
    assert whole.tape.hash() == pieces.tape.hash()
    assert whole.hash(1) == pieces.hash(1)


def test_stopping_after_numbers_of_events_changes_nothing():
    whole, pieces = make_world(), make_world()
    whole.advance(events=1000)
    for _ in range(8):
        assert pieces.advance(events=np.array([125])).tolist() == [1]
    assert whole.hash(0) == pieces.hash(0)


def test_the_tape_replays_without_the_flow():
    world = disturbed(3)
    world.tape.check()
    assert [book.hash() for book in replay(tape_of(world))] == [
        world.books.hash(b) for b in range(3)
    ]


def test_the_flow_never_asks_for_what_the_book_refuses():
    """Nor cancels what is not its own: in a world with an agent, nothing of the flow is refused."""
    world = disturbed(4)
    mine = world.tape.table("steps")["message"]["owner"] == 0
    assert (world.tape.table("results")["reject"][mine] == 0).all()
    assert mine.sum() > 2000


def test_a_market_that_nobody_disturbs_needs_no_opening():
    world = make_world(flow=market(), opening=None)
    world.advance(10 * SECOND_NS)
    bid_tick, ask_tick = world.touch()[0]
    assert 70 < bid_tick < ask_tick < 130
