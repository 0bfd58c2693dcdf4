"""A message sent at t never acts before t + delay; ties go by a stated rule; what is late loses."""

import numpy as np
import pytest

from mtsim.engine.messages import Kind, Reject
from mtsim.errors import UsageError
from mtsim.flow.scripted import Scripted
from mtsim.world.inbox import Rank
from mtsim.world.latency import Delay, Latency, Spike
from tests.world.worlds import BUY, SECOND_NS, SELL, cancel, limit, make_world, rows

MS = 10**6


def scripted(*events):
    """A flow of (time, rows) pairs."""
    times = [time_ns for time_ns, messages in events for _ in messages]
    return Scripted([(np.array(times, np.int64), np.concatenate([m for _, m in events]))])


def steps_of(world, owner: int):
    stream = world.tape.stream(0)
    mine = stream.messages["owner"] == owner
    return stream.time_ns[mine], stream.messages[mine], stream.results[mine]


def test_no_message_acts_before_its_delay_is_over():
    latency = Latency(entry=Delay(20 * MS, 1.5))
    world = make_world(agents=1, latency={1: latency})
    sent_ns, arrived_ns = [], []
    for _ in range(300):
        sent = world.submit(0, 1, limit(BUY, 90))
        sent_ns.append(int(world.now_ns[0]))
        arrived_ns.append(int(sent.arrival_ns[0]))
        world.advance(int(world.now_ns[0]) + 5 * MS)
    world.advance(60 * SECOND_NS)

    acted_ns = steps_of(world, 1)[0]
    delays = latency.entry_ns(7, 1, 0, np.arange(300), np.array(sent_ns))
    assert acted_ns.tolist() == arrived_ns
    assert (acted_ns >= np.array(sent_ns) + delays).all()
    # One connection: messages queue behind a slow one instead of overtaking it.
    assert acted_ns.tolist() == np.maximum.accumulate(np.array(sent_ns) + delays).tolist()
    assert (acted_ns > np.array(sent_ns) + delays).any()


def test_a_message_without_latency_acts_now_and_after_all_that_has_happened():
    flow = scripted((5 * MS, limit(SELL, 100, order_id=1)), (5 * MS, limit(SELL, 101, order_id=2)))
    world = make_world(flow=flow, agents=1, opening=None)
    world.advance(5 * MS)
    world.submit(0, 1, rows({"side": BUY, "lots": 2}))
    world.advance(5 * MS)
    times, _, results = steps_of(world, 1)
    assert times.tolist() == [5 * MS]
    assert results["filled_lots"].tolist() == [2]


def test_a_cancel_that_arrives_late_loses():
    hit = rows({"side": SELL, "order_id": 9})
    for delay_ns, rejects in ((10 * MS, [0, 0]), (11 * MS, [0, Reject.UNKNOWN_ORDER])):
        flow = scripted((30 * MS + 1, hit))
        world = make_world(
            flow=flow, agents=1, opening=None, latency={1: Latency(entry=Delay(delay_ns))}
        )
        sent = world.submit(0, 1, limit(BUY, 100))
        world.advance(20 * MS)
        world.submit(0, 1, cancel(int(sent.order_ids[0])))
        world.advance(40 * MS)
        assert steps_of(world, 1)[2]["reject"].tolist() == rejects
        assert world.accounts[0, 1, 0] == (1 if rejects[1] else 0)


def test_at_one_nanosecond_openings_precede_shocks_agents_and_the_flow():
    """Within a rank, the order of sending."""
    flow = scripted((7 * MS, limit(BUY, 50, order_id=1)), (7 * MS, limit(BUY, 50, order_id=2)))
    world = make_world(flow=flow, agents=2, opening=None)
    for owner in (2, 1, 2):
        world.submit(0, owner, limit(BUY, 50), at_ns=7 * MS)
    world.deliver(0, limit(BUY, 50, order_id=21), 7 * MS, Rank.SHOCK)
    world.deliver(0, limit(BUY, 50, order_id=22), 7 * MS, Rank.SHOCK)
    world.deliver(0, limit(BUY, 50, order_id=20), 7 * MS, Rank.OPENING)
    world.deliver(0, limit(BUY, 50, order_id=19), 7 * MS - 1, Rank.SHOCK)
    world.advance(SECOND_NS)
    messages = world.tape.stream(0).messages
    background = messages["order_id"][messages["owner"] == 0]
    assert messages["owner"].tolist() == [0, 0, 0, 0, 2, 1, 2, 0, 0]
    assert background.tolist() == [19, 20, 21, 22, 1, 2]


def test_two_agents_do_not_disturb_each_others_delays():
    latency = {1: Latency(entry=Delay(5 * MS, 1.0)), 2: Latency(entry=Delay(5 * MS, 1.0))}
    alone = make_world(agents=2, latency=latency)
    both = make_world(agents=2, latency=latency)
    found = []
    for world in (alone, both):
        arrivals = []
        for k in range(20):
            if world is both:
                both.submit(0, 2, rows({}, {}))
            arrivals += world.submit(0, 1, limit(BUY, 80), at_ns=k * SECOND_NS).arrival_ns.tolist()
        found.append(arrivals)
    assert found[0] == found[1]


def test_a_spike_slows_what_sets_out_in_it():
    latency = Latency(entry=Delay(1000), spikes=(Spike(100, 200, 5.0), Spike(150, 300, 2.0)))
    at_ns = np.array([99, 100, 149, 150, 199, 200, 299, 300])
    delays = latency.entry_ns(1, 1, 0, np.arange(8), at_ns)
    assert delays.tolist() == [1000, 5000, 5000, 10_000, 10_000, 2000, 2000, 1000]


def test_delays_are_lognormal_and_feed_entry_and_response_draw_apart():
    delay = Delay(1_000_000, 0.5)
    latency = Latency(feed=delay, entry=delay, response=delay)
    drawn = [
        np.log(draw(3, 1, 0, np.arange(40_000), 0))
        for draw in (latency.feed_ns, latency.entry_ns, latency.response_ns)
    ]
    for logs in drawn:
        assert abs(np.median(logs) - np.log(1_000_000)) < 0.02
        assert abs(logs.std() - 0.5) < 0.01
    correlations = np.corrcoef(drawn)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.02


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Delay(-1), "must not be negative, got -1"),
        (lambda: Delay(1, float("nan")), "must not be negative"),
        (lambda: Spike(5, 4, 1.0), "end_ns must not come before start_ns"),
        (lambda: Spike(4, 5, -1.0), "nor factor be negative"),
    ],
)
def test_a_delay_that_cannot_be_is_refused(make, reason):
    with pytest.raises(UsageError, match=reason):
        make()


def test_nothing_is_sent_into_the_past():
    world = make_world(agents=1)
    world.advance(SECOND_NS)
    for send in (
        lambda: world.submit(0, 1, rows({}), at_ns=SECOND_NS - 1),
        lambda: world.deliver(0, rows({}), SECOND_NS - 1),
    ):
        with pytest.raises(UsageError, match="at_ns 999999999 has passed in world 0"):
            send()
    assert world.submit(0, 1, rows({"kind": Kind.CANCEL})).arrival_ns.tolist() == [SECOND_NS]
