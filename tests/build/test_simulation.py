"""A simulation is its plan and nothing else: not how it was called, set aside, or accompanied."""

import numpy as np
import pytest

from mtsim.build.plan import Plan
from mtsim.build.simulation import AGENT, TWIN, WORLD, Simulation
from mtsim.build.state_bytes import from_bytes, to_bytes
from mtsim.engine.events import EventType
from mtsim.engine.messages import Kind
from mtsim.engine.tape_files import load, save
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.errors import IntegrityError
from mtsim.world.account import POSITION_LOTS
from tests.build.small import BUYER, SECOND_NS, THIN_BIDS, resolved, simulated, stream

AFTER_EVENTS = {"shocks": [{"type": "sweep", "side": "buy", "levels": 2, "at": "700ev"}]}


def agents_messages(simulation, world: int = WORLD):
    found = stream(simulation, world)
    mine = found.messages["owner"] == AGENT
    return found.time_ns[mine], found.messages[mine]


@pytest.mark.parametrize("parts", [(), (BUYER, THIN_BIDS), (BUYER, AFTER_EVENTS)])
@pytest.mark.parametrize("step_ns", [SECOND_NS, 1_234_567_891])
def test_how_far_each_call_goes_changes_nothing(parts, step_ns):
    whole = simulated(*parts)
    plan = Plan.of(resolved(*parts))
    stepped = Simulation.begin(plan, plan.new_tape())
    while not stepped.is_over:
        stepped.advance(stepped.now_ns + step_ns)
    assert stepped.tape.hash() == whole.tape.hash()


@pytest.mark.parametrize("parts", [(BUYER, THIN_BIDS), (BUYER, AFTER_EVENTS)])
def test_put_back_from_bytes_it_goes_on_as_if_nothing_had_been(parts, tmp_path):
    """At 25 random moments, and one nanosecond around the shock."""
    whole = simulated(*parts)
    plan = Plan.of(resolved(*parts))
    moments = np.random.default_rng(1).integers(0, 60 * SECOND_NS, 25).tolist()
    moments += [20 * SECOND_NS - 2, 20 * SECOND_NS - 1, 20 * SECOND_NS]
    for number, moment_ns in enumerate(moments):
        first = Simulation.begin(plan, plan.new_tape())
        first.advance(moment_ns)
        save(first.tape, tmp_path / str(number))
        state = from_bytes(to_bytes(first.state()), "here")
        resumed = Simulation.resume(plan, load(tmp_path / str(number)), state)
        resumed.advance(plan.duration_ns)
        assert resumed.tape.hash() == whole.tape.hash(), moment_ns


def test_a_changed_bit_of_a_state_is_found():
    stored = to_bytes(simulated().state())
    for at in np.random.default_rng(2).integers(0, len(stored), 50).tolist():
        broken = bytearray(stored)
        broken[at] ^= 1 << (at % 8)
        with pytest.raises(IntegrityError, match="the/file"):
            from_bytes(bytes(broken), "the/file")


def test_the_tape_begins_with_the_opening_and_ends_with_the_session():
    simulation = simulated()
    marks = stream(simulation).marks
    assert marks["type"].tolist() == [EventType.SESSION_START, EventType.SESSION_END]
    assert marks["before"].tolist() == [48, len(simulation.tape)]
    assert marks["time_ns"].tolist() == [0, 60 * SECOND_NS]


def test_max_events_ends_it_early():
    simulation = simulated(overrides=("session.max_events=500",))
    assert simulation.n_events.tolist() == [500]
    assert simulation.now_ns < 60 * SECOND_NS


@pytest.mark.parametrize("parts", [(BUYER, THIN_BIDS), (BUYER, AFTER_EVENTS)])
def test_nothing_appears_or_vanishes(parts):
    """Shocks, agent and liquidation under a check of every message; the tape is the same."""
    plan = Plan.of(resolved(*parts))
    checked = Simulation.begin(plan, plan.new_tape(), paranoid=True)
    checked.advance(plan.duration_ns)
    assert checked.tape.hash() == simulated(*parts).tape.hash()


class TestParent:
    def test_a_twap_sends_equal_slices_at_equal_intervals(self):
        simulation = simulated(BUYER, overrides=("latency.median=0s",))
        time_ns, messages = agents_messages(simulation)
        assert time_ns.tolist() == [(10 + 3 * k) * SECOND_NS for k in range(10)]
        assert messages["lots"].tolist() == [6] * 10
        assert (messages["side"] == Side.BUY).all()
        assert simulation.world.accounts[WORLD, AGENT, POSITION_LOTS] == 60

    def test_slices_that_do_not_divide_differ_by_one_lot(self):
        simulation = simulated(BUYER, overrides=("task.quantity=64", "agent.slices=7"))
        lots = agents_messages(simulation)[1]["lots"]
        assert sorted(set(lots.tolist())) == [9, 10]
        assert lots.sum() == 64

    def test_messages_act_after_their_latency(self):
        time_ns, _ = agents_messages(simulated(BUYER))
        late_ns = time_ns - [(10 + 3 * k) * SECOND_NS for k in range(10)]
        assert (late_ns > 20_000).all()
        assert (late_ns < 2_000_000).all()

    @pytest.mark.parametrize(
        ("policy", "expected_s"), [("all_at_once", [10, 40]), ("do_nothing", [40])]
    )
    def test_what_is_left_at_the_horizon_is_traded(self, policy, expected_s):
        """A thousand lots are more than the book holds: all at once leaves some for the end."""
        parts = {**BUYER, "agent": {"policy": policy}}
        simulation = simulated(parts, overrides=("task.quantity=1000", "latency.median=0s"))
        time_ns, messages = agents_messages(simulation)
        assert (time_ns / SECOND_NS).tolist() == expected_s
        filled = stream(simulation).results["filled_lots"]
        mine = stream(simulation).messages["owner"] == AGENT
        assert messages["lots"][-1] == 1000 - filled[mine][:-1].sum()

    def test_without_liquidation_it_stays(self):
        parts = {**BUYER, "agent": {"policy": "do_nothing"}}
        simulation = simulated(parts, overrides=("task.force_liquidation=false",))
        assert len(agents_messages(simulation)[0]) == 0

    def test_what_is_on_its_way_at_the_horizon_is_not_sent_again(self):
        """With a latency of 20 s the last slices are still on their way when the horizon ends."""
        slow = ("latency.median=20s", "latency.sigma=0", "session.duration=80s")
        simulation = simulated(BUYER, overrides=slow)
        assert simulation.world.accounts[WORLD, AGENT, POSITION_LOTS] == 60
        assert len(agents_messages(simulation)[0]) == 10

    def test_a_share_of_the_volume_is_one_size_for_all_seeds(self):
        share = ("task.quantity=null", "task.quantity_fraction=0.2")
        plans = [Plan.of(resolved(BUYER, seed=seed, overrides=share)) for seed in (1, 2)]
        lots = [plan.parent.lots for plan in plans if plan.parent is not None]
        # Six market orders a second of about five lots, in thirty seconds.
        assert lots[0] == lots[1]
        assert 0.6 < lots[0] / (0.2 * 6 * 5.1 * 30) < 1.4


class TestShocks:
    def test_a_shock_acts_before_everything_else_of_its_nanosecond(self):
        """The agent's first slice arrives at just the moment of the shock."""
        parts = {**BUYER, "task": {**BUYER["task"], "start": "20s"}}
        found = stream(simulated(parts, THIN_BIDS, overrides=("latency.median=0s",)))
        at_20 = found.messages[found.time_ns == 20 * SECOND_NS]
        assert at_20["owner"].tolist() == [0] * (len(at_20) - 1) + [AGENT]
        assert set(at_20["kind"][:-1].tolist()) <= {Kind.CANCEL, Kind.REDUCE}

    def test_the_tape_says_when_it_came_and_what_it_was(self):
        found = stream(simulated(THIN_BIDS))
        (shock,) = found.shocks
        assert (shock.time_ns, shock.name) == (20 * SECOND_NS, "thin")
        assert shock.parameters["fraction"] == 0.7
        assert (found.time_ns[: shock.before] < shock.time_ns).all()
        assert found.time_ns[shock.before] == shock.time_ns

    def test_after_so_many_events(self):
        found = stream(simulated(AFTER_EVENTS))
        (shock,) = found.shocks
        assert shock.before == 48 + 700
        assert found.messages["owner"][shock.before] == 2

    def test_at_the_very_start(self):
        found = stream(simulated(THIN_BIDS, overrides=("shocks[0].at=0s",)))
        assert found.shocks[0].before == 48
        assert found.time_ns[48] == 0

    def test_a_share_of_the_traded_volume(self):
        sweep = {"type": "sweep", "side": "sell", "volume_fraction": 0.1, "at": "30s"}
        found = stream(simulated({"shocks": [{**sweep, "lookback": "10s"}]}))
        before = found.shocks[0].before
        recent = found.time_ns[:before] > 20 * SECOND_NS
        traded = found.results["filled_lots"][:before][recent].sum()
        assert found.messages["lots"][before] == round(0.1 * traded) > 0

    def test_disabled_it_does_not_happen(self):
        off = simulated(THIN_BIDS, overrides=("shocks[0].enabled=false",))
        assert stream(off).shocks == []
        assert stream(off).messages.tobytes() == stream(simulated()).messages.tobytes()

    def test_a_latency_spike_makes_the_agents_messages_later(self):
        spike = {"shocks": [{"type": "latency_spike", "at": "15s", "duration": "10s", "x": 100}]}
        plain, spiked = (agents_messages(simulated(*p))[0] for p in ((BUYER,), (BUYER, spike)))
        sent = np.array([(10 + 3 * k) * SECOND_NS for k in range(10)])
        inside = (sent >= 15 * SECOND_NS) & (sent < 25 * SECOND_NS)
        assert (spiked[~inside] == plain[~inside]).all()
        assert np.allclose((spiked - sent)[inside] / (plain - sent)[inside], 100, rtol=1e-3)


def test_a_market_that_loses_a_whole_side_runs_on():
    """All bids leave; takers find nobody for a while, and then others bid again."""
    gone = {**THIN_BIDS["shocks"][0], "levels": 1000, "fraction": 1.0}
    found = stream(simulated({"shocks": [gone]}))
    after = found.results["bid_tick"][found.time_ns == 20 * SECOND_NS]
    assert after[-1] == EMPTY_BID
    assert found.results["bid_tick"][-1] != EMPTY_BID
    assert found.time_ns[-1] > 59 * SECOND_NS


def test_a_market_in_which_nothing_happens_any_more_runs_to_its_end(tmp_path):
    """Two orders of a script take all there is; nothing comes after them."""
    script = tmp_path / "script.csv"
    rows = [f"{SECOND_NS},market,{side},ioc,100000" for side in ("buy", "sell")]
    script.write_text("\n".join(("time_ns,kind,side,tif,lots", *rows)))
    simulation = simulated({"flow": {"kind": "scripted", "messages": str(script)}})
    assert stream(simulation).results[["bid_tick", "ask_tick"]][-1].tolist() == (
        EMPTY_BID,
        EMPTY_ASK,
    )
    assert simulation.n_events.tolist() == [2]
    assert simulation.now_ns == 60 * SECOND_NS


class TestTwins:
    def test_the_twin_is_the_market_left_alone(self):
        both = simulated(BUYER, THIN_BIDS, has_twin=True)
        alone = simulated()
        ours, theirs = stream(both, TWIN), stream(alone)
        assert ours.messages.tobytes() == theirs.messages.tobytes()
        assert ours.results.tobytes() == theirs.results.tobytes()

    def test_the_world_is_the_same_without_its_twin(self):
        both, alone = simulated(BUYER, THIN_BIDS, has_twin=True), simulated(BUYER, THIN_BIDS)
        assert stream(both).digest() == stream(alone).digest()

    def test_a_parent_order_of_no_lots_leaves_the_paths_bit_identical(self):
        plan = Plan.of(resolved(BUYER), parent_lots=0)
        simulation = Simulation.begin(plan, plan.new_tape(2), has_twin=True)
        simulation.advance(plan.duration_ns)
        assert stream(simulation, WORLD).digest() == stream(simulation, TWIN).digest()
        assert simulation.world.books.hash(WORLD) == simulation.world.books.hash(TWIN)
