"""A script is sent as it stands: at its times, whatever the book makes of it."""

import numpy as np
import pytest

from mtsim.engine.messages import MESSAGE_DTYPE, Reject
from mtsim.errors import UsageError
from mtsim.flow.base import FAR
from mtsim.flow.scripted import Scripted
from tests.engine.streams import RandomStream
from tests.world.worlds import BUY, SECOND_NS, disturb, limit, make_world, rows


def test_every_message_is_sent_as_it_stands_at_its_time():
    """Illegal ones, icebergs, auctions and orders of others among them."""
    messages = RandomStream(3).block(2000)
    times = np.sort(np.random.default_rng(1).integers(0, SECOND_NS, 2000))
    flow = Scripted([(times, messages)])
    world = make_world(flow=flow, opening=None, agents=flow.owners - 1)
    world.advance(SECOND_NS)
    stream = world.tape.stream(0)
    assert stream.messages.tobytes() == messages.tobytes()
    assert stream.time_ns.tolist() == times.tolist()


def test_a_recorded_world_plays_again_as_a_script():
    original = make_world(3, agents=1)
    disturb(original)
    streams = list(original.tape.streams())
    flow = Scripted([(stream.time_ns, stream.messages) for stream in streams])
    again = make_world(3, flow=flow, opening=None, agents=1)
    again.advance(10 * SECOND_NS)
    for b in range(3):
        assert again.books.hash(b) == original.books.hash(b)
        assert (again.accounts[b, :, :2] == original.accounts[b, :, :2]).all()


def test_a_script_goes_on_after_what_others_send():
    times, script = (
        np.array([10, 20, 30]),
        np.concatenate([limit(BUY, 9, order_id=k) for k in (1, 2, 3)]),
    )
    world = make_world(flow=Scripted([(times, script)]), opening=None, agents=1)
    world.submit(0, 1, rows({}, {}), at_ns=np.array([15, 20]))
    world.advance(100)
    assert world.tape.stream(0).time_ns.tolist() == [10, 15, 20, 20, 30]
    assert world.tape.stream(0).messages["owner"].tolist() == [0, 1, 1, 0, 0]


def test_a_message_against_the_rules_is_refused_by_the_book():
    twice = np.concatenate([limit(BUY, 9, order_id=1)] * 2)
    world = make_world(flow=Scripted([(np.array([1, 2]), twice)]), opening=None)
    world.advance(5)
    rejects = world.tape.table("results")["reject"]
    assert rejects.tolist() == [Reject.NONE, Reject.DUPLICATE_ID]


def test_an_empty_script_is_a_market_where_nothing_happens():
    world = make_world(flow=Scripted([(np.zeros(0, np.int64), np.zeros(0, MESSAGE_DTYPE))]))
    world.advance(SECOND_NS)
    assert world.touch().tolist() == [[100, 102]]


@pytest.mark.parametrize(
    ("scripts", "reason"),
    [
        ([], "at least one script"),
        ([(np.array([1]), np.zeros(1))], "must be one-dimensional MESSAGE_DTYPE"),
        ([(np.array([1, 2]), rows({}))], "1 integer times are needed"),
        ([(np.array([1.0]), rows({}))], "1 integer times are needed"),
        ([(np.array([2, 1]), rows({}, {}))], "times must go up from 0"),
        ([(np.array([-1]), rows({}))], "times must go up from 0"),
        ([(np.array([FAR]), rows({}))], "times must go up from 0"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(scripts, reason):
    with pytest.raises(UsageError, match=reason):
        Scripted(scripts)


def test_there_is_one_script_for_all_or_one_each():
    script = (np.array([1]), rows({}))
    with pytest.raises(UsageError, match="2 scripts for 3 worlds"):
        Scripted([script, script]).new_state(3)
