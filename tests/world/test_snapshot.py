"""A world put back goes on as if it had never stopped, bit for bit; forks part by their keys."""

import numpy as np
import pytest

from mtsim.engine.tape import Tape
from mtsim.errors import UsageError
from mtsim.world.latency import Delay, Latency
from tests.world.worlds import BUY, SECOND_NS, disturb, limit, make_world, rows

SLOW = {1: Latency(entry=Delay(200_000_000, 0.5))}


def send_some(world, b: int, moment: int) -> None:
    """Messages that are still on their way when the next snapshot is taken."""
    world.submit(b, 1, limit(BUY, 95 + moment % 8, lots=1 + moment % 5))
    world.submit(b, 1, rows({"side": moment % 2, "lots": 1 + moment % 3}))


def test_restored_at_200_random_events_is_uninterrupted():
    """Each piece runs in the world itself, and once more in one restored from before it, which has
    been somewhere else in between and holds its memory differently."""
    world = make_world(agents=1, latency=SLOW, is_recorded=False)
    other = make_world(2, agents=1, latency=SLOW, is_recorded=False, slots=1, seed=99)
    random = np.random.default_rng(5)
    for moment in range(200):
        snapshot = world.snapshot(0)
        send_some(world, 0, moment)
        events = int(random.integers(1, 40))
        tape = Tape(seeds={}, config={})
        world.record(tape)
        world.advance(events=events)
        world.record(None)

        other.advance(events=int(random.integers(1, 40)))
        other.restore(1, snapshot)
        assert other.hash(1) == snapshot.digest(other.books.hash(1))
        send_some(other, 1, moment)
        again = Tape(seeds={}, config={}, books=2)
        other.record(again)
        other.advance(events=events, worlds=np.array([1]))
        other.record(None)

        assert other.hash(1) == world.hash(0)
        assert again.stream_hash(1) == tape.stream_hash(0)
    assert world.n_messages[0] > 3000


def test_forks_are_equal_with_equal_keys_and_diverge_with_different_ones():
    world = make_world(4, agents=1, latency=SLOW, is_recorded=False)
    disturb(world)
    world.fork(0, 1)
    world.fork(0, 2, seed=1)
    world.fork(0, 3, seed=1)
    assert world.hash(1) == world.hash(0)
    assert world.books.hash(2) == world.books.hash(0)
    world.advance(int(world.now_ns[0]) + 10 * SECOND_NS)
    assert world.hash(1) == world.hash(0)
    assert world.hash(3) == world.hash(2)
    assert world.books.hash(2) != world.books.hash(0)


def test_the_snapshot_of_a_world_that_grew_fits_one_that_did_not(monkeypatch):
    large = make_world(agents=1, is_recorded=False)
    monkeypatch.setattr("mtsim.flow.agenda._FIRST_ROOM", 2)
    small = make_world(agents=1, is_recorded=False, opening=None, seed=1)
    large.advance(3 * SECOND_NS)
    small.restore(0, large.snapshot(0))
    small.advance(9 * SECOND_NS)
    large.advance(9 * SECOND_NS)
    assert small.hash(0) == large.hash(0)


def test_a_tape_does_not_go_back():
    world = make_world()
    snapshot = world.snapshot(0)
    world.advance(SECOND_NS)
    with pytest.raises(UsageError, match="the tape already holds rows"):
        world.restore(0, snapshot)
    world.record(None)
    world.restore(0, snapshot)
    assert world.now_ns[0] == 0


def test_a_snapshot_of_other_owners_is_refused():
    with pytest.raises(UsageError, match="a snapshot with 1 owners, this world has 3"):
        make_world(agents=2, is_recorded=False).restore(0, make_world().snapshot(0))


def test_every_part_of_a_world_counts_in_its_hash():
    """A hash that left something out would prove nothing above."""
    world = make_world(agents=1, is_recorded=False)
    world.advance(SECOND_NS)
    before = world.hash(0)
    for change in (
        lambda: world.submit(0, 1, rows({})),
        lambda: world.advance(int(world.now_ns[0]) + 1),
        lambda: world.keys.__setitem__(0, np.uint64(5)),
        lambda: world.state_i.__setitem__((0, 3), 5),
        lambda: world.accounts.__setitem__((0, 1, 1), 5),
    ):
        change()
        assert world.hash(0) != before
        before = world.hash(0)
