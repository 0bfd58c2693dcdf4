"""From text to a scenario: layers, draws, and every problem at once in its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.errors import ScenarioError
from mtsim.scenario import Scenario, load, loads
from mtsim.scenario.catalogue import shipped
from mtsim.scenario.dump import dump


def problems(text, overrides=()):
    with pytest.raises(ScenarioError) as caught:
        loads(text, overrides)
    return caught.value.problems


def messages(text, overrides=()):
    return [f"{problem.path}: {problem.message}" for problem in problems(text, overrides)]


def test_the_smallest_scenario_is_empty():
    assert loads("{}").scenario == Scenario.model_validate({})


def test_misspelt_key_bad_value_and_bad_unit_come_out_together():
    text = "\n".join(
        [
            "session: {duration: 30parsec}",
            "shocks:",
            "  - type: mass_cancel",
            "    fraction: 1.5",
            "    durration: 60s",
        ]
    )
    found = {(p.line, p.column, p.path): p.message for p in problems(text)}
    assert list(found) == [
        (1, 21, "session.duration"),
        (4, 15, "shocks[0].fraction"),
        (5, 5, "shocks[0].durration"),
    ]
    assert [message.split(",")[0] for message in found.values()] == [
        "unknown unit 'parsec' in the duration '30parsec'; the units are ns",
        "must be at most 1",
        "unknown key 'durration'. Did you mean 'duration'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede: 1", "sede: unknown key 'sede'. Did you mean 'seed'?"),
        ("seed: x", "seed: must be a whole number, got 'x'"),
        ("seed: -1", "seed: must be at least 0, got -1"),
        ("seed: 1.5", "seed: must be a whole number, got 1.5"),
        ("seed: true", "seed: must be a whole number, got true"),
        ("seed: {uniform: [1, 2]}", "seed: the seed itself is never drawn"),
        ("name: a/b", "name: must consist of letters, digits, '_', '.' and '-', got 'a/b'"),
        ("session: 5", "session: must be a mapping of keys to values, got 5"),
        ("session:", "session: must be a mapping of keys to values, got nothing (null)"),
        ("instrument: {tick_size: 0}", "instrument.tick_size: must be above 0, got 0"),
        ("instrument: {tick_size: .nan}", "instrument.tick_size: must be a number, got nan"),
        ("latency: {sigma: .inf}", "latency.sigma: must be a finite number, got inf"),
        ("flow: {kind: hwakes}", "flow.kind: unknown kind 'hwakes'. Did you mean 'hawkes'?"),
        ("flow: {}", "flow: the key 'kind' is missing, or is not text"),
        ("flow: hawkes", "flow: must be a mapping of keys to values, got 'hawkes'"),
        ("flow: {kind: replay}", "flow: the key 'session' is missing"),
        ("shocks: {type: sweep}", "shocks: must be a list, got a mapping"),
        ("shocks: [sweep]", "shocks[0]: must be a mapping of keys to values, got 'sweep'"),
        ("shocks: [{type: sweep}]", "shocks[0]: give exactly one of levels and volume_fraction"),
        (
            "shocks: [{type: sweep, levels: 1, side: bid}]",
            "shocks[0].side: must be one of buy, sell, got 'bid'",
        ),
        (
            "shocks: [{type: fundamental, name: a}, {type: fundamental, name: a}]",
            ": two shocks are named a",
        ),
        ("agent: {policy: twap}", ": an agent needs a task"),
        ("session: {duration: 60s, warmup: 60s}", "session: warmup must be shorter than duration"),
        ("extends: base.yaml", "extends: only a file can extend a file"),
    ],
)
def test_each_mistake_is_named_with_its_path(text, message):
    assert messages(text) == [message]


def test_unknown_keys_list_the_known_ones_of_their_own_section():
    (problem,) = problems("shocks: [{type: sweep, levels: 1, fraction: 0.5}]")
    assert problem.hint == (
        "known keys: name, at, duration, enabled, type, side, levels, volume_fraction, lookback"
    )
    (problem,) = problems("agent: {policy: pov, slices: 3}\ntask: {kind: market_making}")
    assert problem.hint == "known keys: policy, rate, lookback, price_limit"


def test_a_missing_required_key_is_hinted_at():
    (problem,) = problems("shocks:\n  - {type: parent_order}")
    assert (problem.where, problem.message) == ("<text>:2:5", "the key 'agent' is missing")
    assert problem.hint == "required keys: type, agent"


def test_problems_come_in_the_order_of_the_file():
    found = problems("seed: x\nname: a/b\nlatency: {sigma: -1, median: 5}\nfoo: 1")
    assert [problem.line for problem in found] == [1, 2, 3, 3, 4]


class TestOverrides:
    def test_a_value_is_typed_by_the_schema(self):
        resolved = loads("{}", ["seed=7", "session.duration=60s", "rules.halt.band=0.1"])
        assert resolved.scenario.seed == 7
        assert resolved.scenario.session.duration_ns == 60 * 10**9
        assert resolved.scenario.rules.halt is not None
        assert resolved.scenario.rules.halt.band == 0.1

    def test_an_item_of_a_list_is_reached_by_its_index(self):
        text = "shocks: [{type: sweep, levels: 1}, {type: sweep, levels: 2}]"
        shocks = loads(text, ["shocks[1].levels=5", "shocks[0].enabled=false"]).scenario.shocks
        assert [(shock.levels, shock.enabled) for shock in shocks] == [(1, False), (5, True)]

    def test_a_new_kind_replaces_the_section(self):
        text = "flow: {kind: zero_intelligence, add_rate: 2.0}"
        assert loads(text, ["flow={kind: hawkes}"]).scenario.flow.kind == "hawkes"

    def test_the_last_one_wins(self):
        assert loads("seed: 1", ["seed=2", "seed=3"]).scenario.seed == 3

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("seed", "must look like path=value"),
            ("=1", "must look like path=value"),
            ("a b=1", "must look like path=value"),
            ("shocks[4].levels=1", "there is no item 4"),
            ("seed=[1", "not valid YAML"),
            ("seed=!!python/name:os.system", "plain data"),
            ("sede=1", "unknown key 'sede'. Did you mean 'seed'?"),
            ("latency.sigma=-1", "must be at least 0, got -1"),
        ],
    )
    def test_a_mistake_names_the_argument(self, override, message):
        (problem,) = problems("{}", [override])
        assert problem.file == f"--set {override}"
        assert message in problem.message


class TestExtends:
    def write(self, folder, **files):
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text)
        return folder / "top.yaml"

    def test_a_file_is_laid_over_the_one_it_extends(self, tmp_path):
        top = self.write(
            tmp_path,
            top="extends: mid.yaml\nseed: 3\n",
            mid="extends: low.yaml\nlatency: {sigma: 0.5}\n",
            low="seed: 1\nlatency: {median: 1us, sigma: 0.1}\nshocks: [{type: fundamental}]\n",
        )
        resolved = load(top)
        latency = resolved.scenario.latency
        assert (resolved.scenario.seed, latency.median_ns, latency.sigma) == (3, 1000, 0.5)
        assert len(resolved.scenario.shocks) == 1
        assert resolved.origins()["latency.median"] == f"{tmp_path}/low.yaml:2"

    def test_another_kind_brings_none_of_the_keys_below(self, tmp_path):
        top = self.write(
            tmp_path,
            top="extends: low.yaml\nflow: {kind: hawkes}\n",
            low="flow: {kind: zero_intelligence, add_rate: 2.0}\n",
        )
        assert load(top).scenario.flow.kind == "hawkes"

    def test_a_mistake_below_is_reported_in_its_own_file(self, tmp_path):
        top = self.write(tmp_path, top="extends: low.yaml\n", low="\nseed: x\n")
        with pytest.raises(ScenarioError) as caught:
            load(top)
        assert caught.value.problems[0].where == f"{tmp_path}/low.yaml:2:7"

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("top.yaml", "extends this file itself"),
            ("../top.yaml", "outside the folder"),
            ("/etc/passwd", "outside the folder"),
            ("nothing.yaml", "there is no file"),
            ("[a]", "must be the name of a file"),
        ],
    )
    def test_a_base_that_cannot_be_is_refused(self, tmp_path, target, message):
        top = self.write(tmp_path, top=f"extends: {target}\n")
        with pytest.raises(ScenarioError, match=message) as caught:
            load(top)
        assert caught.value.problems[0].line == 1

    def test_a_link_out_of_the_folder_is_refused(self, tmp_path):
        (tmp_path / "elsewhere.yaml").write_text("seed: 1\n")
        inner = tmp_path / "inner"
        inner.mkdir()
        (inner / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
        top = self.write(inner, top="extends: link.yaml\n")
        with pytest.raises(ScenarioError, match="outside the folder"):
            load(top)

    def test_a_ring_of_files_is_refused(self, tmp_path):
        top = self.write(tmp_path, top="extends: low.yaml\n", low="extends: top.yaml\n")
        with pytest.raises(ScenarioError, match="extends this file itself"):
            load(top)


class TestRandomValues:
    TEXT = (
        "shocks: [{type: mass_cancel, fraction: {uniform: [0.2, 0.8]}, at: {uniform: [10s, 20s]}}]"
    )

    def test_the_draw_follows_from_the_seed(self):
        fractions = [loads(self.TEXT, seed=s).scenario.shocks[0].fraction for s in range(20)]
        assert fractions == [
            loads(self.TEXT, seed=s).scenario.shocks[0].fraction for s in range(20)
        ]
        assert len(set(fractions)) == 20
        assert all(0.2 <= fraction <= 0.8 for fraction in fractions)

    def test_another_random_value_changes_no_draw(self):
        alone = loads(self.TEXT, seed=3).scenario.shocks[0]
        beside = loads(self.TEXT + "\nlatency: {sigma: {uniform: [0, 1]}}", seed=3).scenario
        assert beside.shocks[0] == alone

    @pytest.mark.parametrize("seed", range(5))
    def test_a_bad_end_is_found_whatever_the_seed(self, seed):
        text = "shocks: [{type: mass_cancel, fraction: {uniform: [0.5, 1.5]}}]"
        assert messages(f"seed: {seed}\n{text}") == [
            "shocks[0].fraction: must be at most 1, got 1.5"
        ]

    def test_a_bad_option_is_found_whatever_the_seed(self):
        text = "shocks: [{type: mass_cancel, side: {choice: [bid, both, buy]}}]"
        (message,) = messages(text)
        assert message == "shocks[0].side: must be one of bid, ask, both, got 'buy'"

    def test_text_can_be_chosen_too(self):
        text = "shocks: [{type: mass_cancel, side: {choice: [bid, ask]}}]"
        assert {loads(text, seed=s).scenario.shocks[0].side for s in range(30)} == {"bid", "ask"}

    def test_a_population_stays_a_distribution(self):
        text = (
            "shocks: [{type: stop_loss_cascade, stops: {distance_ticks: {lognormal: [20, 0.5]}}}]"
        )
        distance = loads(text).scenario.shocks[0].stops.distance_ticks
        assert (distance.kind, distance.args) == ("lognormal", (20.0, 0.5))

    def test_lists_are_drawn_item_by_item(self):
        text = "task: {kind: market_making, action: {sizes: [0.1, {uniform: [0.2, 0.9]}]}}"
        sizes = loads(text).scenario.task.action.sizes
        assert sizes[0] == 0.1
        assert 0.2 <= sizes[1] <= 0.9

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("{uniform: 5}", "uniform takes a list of values"),
            ("{uniform: [[1], 2]}", "uniform takes a list of values"),
            ("{uniform: [0.9, 0.1]}", "the low end of uniform is above its high end: 0.9 > 0.1"),
            ("{lognormal: [0.5]}", "lognormal takes two numbers, [median, sigma]"),
            ("{choice: []}", "a choice needs at least one value"),
        ],
    )
    def test_a_wrong_distribution_stands_where_it_was_written(self, value, message):
        found = problems(f"shocks:\n  - {{type: mass_cancel, fraction: {value}}}")
        assert message in {problem.message for problem in found}
        assert {problem.line for problem in found} == {2}


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_shipped_scenarios_are_valid_and_say_what_they_show(file):
    resolved = load(file)
    assert resolved.scenario.description
    assert resolved.scenario.name == file.stem
    header = file.read_text(encoding="utf-8")
    assert header.startswith("# ")
    assert "ook at" in header


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
@pytest.mark.parametrize("origins", [True, False])
def test_a_dump_reads_back_to_the_same_scenario(file, origins):
    resolved = load(file, seed=5)
    assert loads(dump(resolved, origins=origins)).scenario == resolved.scenario


def test_a_dump_says_where_each_value_came_from(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("seed: 4\nlatency:\n  sigma: {uniform: [0, 1]}\n")
    lines = dump(load(file, ["instrument.symbol=ABC"])).splitlines()
    origin = {line.split(":")[0].strip(): line.rpartition("# ")[2] for line in lines if "#" in line}
    assert origin["seed"] == f"{file}:1"
    assert origin["sigma"] == f"drawn from uniform [0, 1], {file}:3"
    assert origin["symbol"] == "--set instrument.symbol=ABC"
    assert origin["currency"] == "default"
    assert origin["name"] == "file name"


@given(
    seed=st.integers(0, 2**63 - 1),
    median=st.integers(0, 2**40),
    tick=st.sampled_from([0.01, 0.25, 1e-8, 5, 0.1]),
    fraction=st.floats(0, 1),
    at=st.sampled_from(["0s", "17ms", "5000ev", "spread>4t"]),
)
def test_any_valid_mapping_survives_the_round_trip(seed, median, tick, fraction, at):
    mapping = {
        "seed": seed,
        "latency": {"median": f"{median}ns"},
        "instrument": {"tick_size": tick},
        "shocks": [{"type": "mass_cancel", "fraction": fraction, "at": at}],
    }
    resolved = loads(mapping)
    assert loads(dump(resolved, origins=False)).scenario == resolved.scenario
    assert resolved.scenario.shocks[0].fraction == fraction
