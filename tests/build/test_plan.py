"""What a scenario becomes, and what it may ask for and nobody can run yet: said at its place."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mtsim.build.flows import sizes_of
from mtsim.build.market import fees_of, latency_of
from mtsim.build.plan import Plan
from mtsim.build.script_file import read_script
from mtsim.build.session import RunSource
from mtsim.build.simulation import Simulation
from mtsim.engine.messages import Kind, SelfTrade, TimeInForce
from mtsim.engine.units import Side
from mtsim.errors import DataError, MissingError, ScenarioError, UsageError
from mtsim.flow import fit_zero_intelligence
from mtsim.flow.base import FIRST_FLOW_ID
from mtsim.flow.fitted import write_fitted
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.queue_reactive import QueueReactive
from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence
from mtsim.model.ingest import import_session
from mtsim.model.store import Store
from mtsim.scenario.catalogue import shipped
from mtsim.scenario.quantities import Distribution
from mtsim.scenario.resolve import load
from mtsim.world.latency import Spike
from tests.build.small import BUYER, resolved, simulated

DECODER = {"flow": {"kind": "decoder"}}


@pytest.mark.parametrize(
    ("parts", "override", "path"),
    [
        ((DECODER,), "seed=1", "flow.kind"),
        (({"flow": {"kind": "replay", "session": "a"}},), "seed=1", "flow.kind"),
        ((), "opening={kind: bank}", "opening.kind"),
        ((), "rules.price_limit=0.05", "rules.price_limit"),
        ((), "rules.halt={band: 0.1}", "rules.halt"),
        ((), "rules.throughput=100", "rules.throughput"),
        ((), "rules.opening_auction=true", "rules.opening_auction"),
        ((), "rules.max_lots=10", "rules.max_lots"),
        ((), "shocks=[{type: flash_crash}]", "shocks[0].type"),
        ((), "shocks=[{type: sweep, levels: 2, at: spread>4t}]", "shocks[0].at"),
        ((), "shocks=[{type: sweep, levels: 2, duration: 4s}]", "shocks[0].duration"),
        ((), "shocks=[{type: latency_spike, at: 40ev}]", "shocks[0].at"),
        ((BUYER,), "agent={policy: pov}", "agent.policy"),
        ((BUYER,), "agent.style=passive", "agent.style"),
    ],
)
def test_what_does_not_run_yet_is_said_at_its_place(parts, override, path):
    with pytest.raises(ScenarioError) as refused:
        Plan.of(resolved(*parts, overrides=(override,)))
    (problem,) = refused.value.problems
    assert problem.path == path
    assert problem.message.endswith("does not run yet")
    assert problem.hint.startswith("what runs today: ")


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("flow.size=1e10", "flow.size"),
        ("opening={spread: 1000000000, mid_tick: 1000000000}", "opening"),
    ],
)
def test_values_beyond_the_engine_are_refused_at_their_place(override, path):
    with pytest.raises(ScenarioError) as refused:
        Plan.of(resolved(overrides=(override,)))
    assert [problem.path for problem in refused.value.problems] == [path]


def test_every_shipped_scenario_has_a_plan_or_says_what_is_missing():
    ran = 0
    for file in shipped():
        try:
            ran += Plan.of(load(file)) is not None
        except ScenarioError as refused:
            assert "does not run yet" in str(refused)  # noqa: PT017
    assert ran >= 3


def test_the_flows_of_scenarios_are_those_they_name():
    kinds = {
        "zero_intelligence": ZeroIntelligence,
        "hawkes": Hawkes,
        "queue_reactive": QueueReactive,
    }
    for kind, flow in kinds.items():
        plan = Plan.of(resolved({"flow": {"kind": kind}}))
        assert isinstance(plan.flow, flow)
        # The market begins where its opening is: a spread of 2 around 10,000.
        assert plan.flow.first_tick == plan.opening["price_tick"][0] == 10_000


def test_a_fitted_file_replaces_the_rates_and_is_part_of_what_was_asked(tmp_path):
    flow = ZeroIntelligence(0.25, 3.0, 0.125, 7, Sizes.constant(4))
    path = tmp_path / "fit.json"
    write_fitted(path, "zero_intelligence", fit_zero_intelligence.as_json(flow), {})
    fitted = {"flow": {"kind": "zero_intelligence", "fitted": str(path)}}
    plan = Plan.of(resolved(fitted))
    assert isinstance(plan.flow, ZeroIntelligence)
    assert (plan.flow.add_rate, plan.flow.depth, plan.flow.sizes.mean()) == (0.25, 7, 4)
    other = ZeroIntelligence(0.5, 3.0, 0.125, 7, Sizes.constant(4))
    write_fitted(path, "zero_intelligence", fit_zero_intelligence.as_json(other), {})
    assert Plan.of(resolved(fitted)).digest() != plan.digest()
    path.unlink()
    with pytest.raises(MissingError, match=r"fit\.json: not there"):
        Plan.of(resolved(fitted))


def test_a_fitted_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "fit.json"
    flow = ZeroIntelligence(0.25, 3.0, 0.125, 7, Sizes.constant(4))
    write_fitted(path, "zero_intelligence", fit_zero_intelligence.as_json(flow), {})
    with pytest.raises(UsageError, match="'hawkes' was asked"):
        Plan.of(resolved({"flow": {"kind": "hawkes", "fitted": str(path)}}))


@pytest.mark.parametrize(
    ("population", "mean"),
    [
        (Distribution("constant", (7.0,)), 7),
        (Distribution("choice", (1.0, 1.0, 4.0)), 2),
        (Distribution("uniform", (1.0, 9.0)), 5),
        (Distribution("lognormal", (5.0, 0.8)), 5 * math.exp(0.32)),
    ],
)
def test_sizes_have_the_mean_of_their_distribution(population, mean):
    assert sizes_of(population).mean() == pytest.approx(mean, rel=0.01)


def test_fees_are_the_decimals_of_the_scenario():
    fees = fees_of(resolved())
    assert (fees.maker_bp, fees.taker_bp) == (Fraction(-1, 5), Fraction(3, 10))


def test_latency_is_that_of_the_scenario_with_its_spikes():
    spike = "shocks=[{type: latency_spike, at: 15s, duration: 2s, x: 50}]"
    latency = latency_of(resolved(overrides=("latency.feed=1ms", spike)))
    assert (latency.entry.median_ns, latency.entry.sigma) == (200_000, 0.3)
    assert latency.feed.median_ns == 10**6
    assert latency.spikes == (Spike(15 * 10**9, 17 * 10**9, 50.0),)


@pytest.mark.parametrize("rule", ["allow", "cancel_oldest", "decrement"])
def test_the_agents_orders_carry_the_rule_for_self_trades(rule):
    parent = Plan.of(resolved(BUYER, overrides=(f"rules.self_trade={rule}",))).parent
    assert parent is not None
    assert (parent.children["stp"] == SelfTrade[rule.upper()]).all()


def test_the_warm_up_comes_before_the_agent():
    parent = Plan.of(resolved(BUYER, overrides=("task.start=1s",))).parent
    assert parent is not None
    assert parent.start_ns == 5 * 10**9


def stored(simulation: Simulation, place: Path) -> Path:
    """The folder of a session that is a simulation: its book is known at any time."""
    file = place / "tape"
    file.write_text("for the store to name")
    source = RunSource(simulation.tape, simulation.plan.scenario, file)
    return import_session(source, Store(place / "store"), keep=True).folder


def opened(folder: Path, at: str) -> dict:
    return {"opening": {"kind": "session", "session": str(folder), "at": at}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return stored(simulated(), tmp_path_factory.mktemp("session"))


class TestSessionOpening:
    def test_it_is_the_book_of_that_moment_order_by_order(self, folder):
        plan = Plan.of(resolved(opened(folder, "30s")))
        alone = Plan.of(resolved())
        then = Simulation.begin(alone, alone.new_tape())
        then.advance(30 * 10**9)
        begun = Simulation.begin(plan, plan.new_tape())
        ours, theirs = (s.world.books.resting(0) for s in (begun, then))
        for field in ("side", "price_tick", "lots", "owner"):
            assert ours[field].tolist() == theirs[field].tolist()
        assert plan.flow.first_tick == then.world.touch()[0, 0]
        assert list(plan.files) == [str(folder)]

    def test_it_runs_on_from_there(self, folder):
        end = simulated(opened(folder, "30s"), overrides=("session.duration=20s",))
        assert end.n_events[0] > 500

    def test_another_tick_is_refused(self, folder):
        with pytest.raises(ScenarioError, match=r"a tick of mtsim SYN .* is 0\.01"):
            Plan.of(resolved(opened(folder, "30s"), overrides=("instrument.tick_size=0.05",)))

    @pytest.mark.parametrize(
        ("shock", "said"),
        [
            ({"type": "mass_cancel", "levels": 1000, "fraction": 1.0}, "a side of the book"),
            ({"type": "halt", "duration": "10s"}, "in an auction"),
        ],
    )
    def test_a_moment_that_opens_no_market_is_refused(self, tmp_path, shock, said):
        place = stored(simulated({"shocks": [{**shock, "at": "20s"}]}), tmp_path)
        with pytest.raises(ScenarioError, match=said) as refused:
            Plan.of(resolved(opened(place, "20s")))
        assert refused.value.problems[0].path == "opening"

    def test_a_session_that_is_not_there_is_missing(self, tmp_path):
        with pytest.raises(MissingError, match="not there"):
            Plan.of(resolved(opened(tmp_path / "none", "0s")))


class TestScripts:
    def write(self, folder, *lines: str):
        path = folder / "script.csv"
        path.write_text("\n".join(lines))
        return path

    def test_words_and_integers_become_messages(self, tmp_path):
        path = self.write(
            tmp_path,
            "time_ns,kind,side,tif,lots,price_tick,order_id",
            "5,limit,buy,gtc,3,99,",
            "5,market,sell,ioc,2,,",
            "8,cancel,,,,,12",
        )
        time_ns, messages = read_script(path)
        assert time_ns.tolist() == [5, 5, 8]
        assert messages["kind"].tolist() == [Kind.LIMIT, Kind.MARKET, Kind.CANCEL]
        assert messages["side"].tolist() == [Side.BUY, Side.SELL, 0]
        assert messages["tif"].tolist() == [TimeInForce.GTC, TimeInForce.IOC, 0]
        assert messages["order_id"].tolist() == [FIRST_FLOW_ID, FIRST_FLOW_ID + 1, 12]
        assert messages["price_tick"].tolist() == [99, 0, 0]

    @pytest.mark.parametrize(
        ("lines", "row", "said"),
        [
            ((), 1, "the header must name time_ns, kind"),
            (("time_ns,kynd", "1,limit"), 1, "the header must name time_ns, kind"),
            (("time_ns,kind", "1,limited"), 2, "kind must be an integer or one of limit"),
            (("time_ns,kind", "1,limit", "soon,limit"), 3, "time_ns must be an integer, got"),
            (("time_ns,kind", "1,limit,4"), 2, "more cells"),
            (("time_ns,kind", "1,limit", "0,limit"), 3, "time_ns goes back"),
            (("time_ns,kind", "-1,limit"), 2, "time_ns goes back"),
            (("time_ns,kind,lots", "1,limit,5000000000"), 2, "lots must fit int32"),
        ],
    )
    def test_what_is_no_message_is_named_by_its_row(self, tmp_path, lines, row, said):
        path = self.write(tmp_path, *lines)
        with pytest.raises(DataError, match=said) as refused:
            read_script(path)
        assert (refused.value.file, refused.value.row) == (str(path), row)

    def test_a_script_is_found_beside_the_scenario_that_names_it(self, tmp_path):
        self.write(tmp_path, "time_ns,kind,side,tif,lots", "7,market,buy,ioc,1")
        scenario = tmp_path / "scripted.yaml"
        scenario.write_text("flow: {kind: scripted, messages: script.csv}\n")
        plan = Plan.of(load(scenario))
        assert list(plan.files) == ["script.csv"]
        _, words = plan.flow.params()
        assert np.count_nonzero(words == 7) == 1
