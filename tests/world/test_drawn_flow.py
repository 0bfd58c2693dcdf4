"""A flow whose events are drawn in Python: worlds stop for it, and what others send is seen first.

It also records what kernels are told, for the protocol that all flows rely on.
"""

from pathlib import Path

import numpy as np
import pytest

from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import hot
from mtsim.flow.base import DRAW, ROOM, SOURCES, Kernels, write_message
from mtsim.world.loop import Stop
from tests.world.worlds import BUY, limit, make_world, rows

# Words of the state: when the drawn event is due or DRAW, its price; what was observed last.
DUE, TICK, INDEX, TIME, OWN, N_FILLS, ASKED = range(1, 8)


@hot
def schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns):
    state_i[ASKED] += 1
    return state_i[DUE]


@hot
def compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message):
    state_i[DUE] = DRAW
    write_message(message, 0, 0, 0, 0, state_i[TICK], 5, index + 1)
    return state_i[TICK] != 0


@hot
def observe(
    a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message,
    result, fills, n_fills, own,
):  # fmt: skip
    state_i[INDEX] = index
    state_i[TIME] = now_ns
    state_i[OWN] = own
    state_i[N_FILLS] = n_fills
    if not own:
        state_i[DUE] = DRAW


class DrawnInPython:
    kernels = Kernels(schedule, compose, observe, fingerprint(SOURCES, Path(__file__)))
    owners = 1

    def params(self):
        return np.zeros(0), np.zeros(0, np.int64)

    def new_state(self, n_worlds):
        state_i = np.zeros((n_worlds, 8), np.int64)
        state_i[:, ROOM], state_i[:, DUE] = 1, DRAW
        return np.zeros((n_worlds, 0)), state_i

    def grow(self, state_i):
        raise AssertionError


@pytest.fixture
def world():
    return make_world(2, DrawnInPython(), opening=None, agents=1)


def draw(world, time_ns: int, tick: int = 50) -> None:
    world.state_i[:, [DUE, TICK]] = time_ns, tick


def test_a_world_stops_until_its_next_event_is_drawn(world):
    assert world.advance(100).tolist() == [Stop.FLOW, Stop.FLOW]
    draw(world, 30)
    assert world.advance(100).tolist() == [Stop.FLOW, Stop.FLOW]
    assert world.now_ns.tolist() == [30, 30]
    assert world.tape.stream(1).messages["order_id"].tolist() == [1]
    draw(world, 130)
    assert world.advance(100).tolist() == [Stop.TIME, Stop.TIME]
    assert world.advance(130).tolist() == [Stop.FLOW, Stop.FLOW]
    assert world.tape.stream(0).messages["order_id"].tolist() == [1, 2]


def test_a_message_of_somebody_else_has_the_event_drawn_again(world):
    world.submit(0, 1, limit(BUY, 60), at_ns=20)
    draw(world, 30)
    assert world.advance(100).tolist() == [Stop.FLOW, Stop.FLOW]
    assert world.now_ns.tolist() == [20, 30]
    draw(world, 40)
    world.advance(100, worlds=np.array([0]))
    assert world.tape.stream(0).time_ns.tolist() == [20, 40]
    assert world.tape.stream(0).messages["order_id"][-1] == 1


def test_a_flow_sees_every_outcome_and_whose_it_is(world):
    draw(world, 10)
    world.advance(10)
    assert world.state_i[0, [INDEX, TIME, OWN, N_FILLS]].tolist() == [1, 10, 1, 0]
    world.submit(0, 1, rows({"side": 1, "lots": 9}), at_ns=15)
    draw(world, 20)
    world.advance(15)
    assert world.state_i[0, [INDEX, TIME, OWN, N_FILLS]].tolist() == [1, 15, 0, 1]


def test_a_null_event_is_counted_and_on_no_tape(world):
    draw(world, 10, tick=0)
    world.advance(100)
    assert (world.n_null_events.tolist(), world.n_messages.tolist()) == ([1, 1], [0, 0])
    assert len(world.tape) == 0
    draw(world, 20)
    world.advance(100)
    assert world.tape.stream(0).messages["order_id"].tolist() == [2]


def test_a_flow_is_asked_once_an_event(world):
    for time_ns in (10, 20, 30):
        draw(world, time_ns)
        world.advance(time_ns - 1)
        asked = world.state_i[:, ASKED].copy()
        world.advance(time_ns - 1)
        assert (world.state_i[:, ASKED] == asked).all()
        world.advance(time_ns)
