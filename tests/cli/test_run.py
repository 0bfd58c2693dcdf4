"""`mtsim run`, `replay`, `show`, `export` and `twin` as a user meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtsim.build.run_store import open_run
from mtsim.build.simulation import Simulation
from mtsim.cli.app import run

ROOT = Path(__file__).parent.parent.parent

SMALL = """\
session: {duration: 60s, warmup: 5s}
latency: {median: 200us, sigma: 0.3}
flow: {kind: zero_intelligence, add_rate: 2.0, market_rate: 3.0, cancel_rate: 0.25, depth: 8}
opening: {kind: synthetic, spread: 2, levels: 8, orders_per_level: 3, lots: 6}
agent: {policy: twap, slices: 10}
task: {kind: execution, side: buy, quantity: 30, start: 10s, horizon: 30s}
shocks:
  - {name: thin, type: mass_cancel, at: 20s, levels: 3, fraction: 0.7}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def said(capsys, *arguments: str):
    """The JSON that a command prints."""
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


class TestRun:
    def test_the_same_seed_gives_the_same_tape(self, here, capsys):
        first, second = (
            said(capsys, "run", "small.yaml", "--seed", "7", "--out", out) for out in ("a", "b")
        )
        other = said(capsys, "run", "small.yaml", "--seed", "8", "--out", "c")
        assert first["tape_hash"] == second["tape_hash"] != other["tape_hash"]
        assert {**first, "out": "b"} == second

    def test_checked_after_every_message_it_is_the_same(self, here, capsys):
        plain = said(capsys, "run", "small.yaml", "--out", "a")
        careful = said(capsys, "run", "small.yaml", "--out", "b", "--paranoid")
        assert careful["tape_hash"] == plain["tape_hash"]

    def test_what_it_says_of_a_run(self, here, capsys):
        row = said(capsys, "run", "small.yaml", "--seed", "7", "--out", "a")
        found = open_run("a")
        assert (row["status"], row["seed"], row["out"]) == ("ran", 7, "a")
        assert row["tape_hash"] == found.tape.hash()
        assert row["events"] + row["opening_messages"] == len(found.tape)
        assert row["fills"] == len(found.tape.table("fills"))
        assert row["simulated_ns"] == 60 * 10**9
        last = found.tape.table("results")[-1]
        touch = (row["touch"]["bid_tick"], row["touch"]["ask_tick"])
        assert touch == (last["bid_tick"], last["ask_tick"])
        agent = row["accounts"][1]
        assert (agent["name"], agent["bought_lots"], agent["taker_notional"]) == (
            "agent",
            30,
            -agent["cash"],
        )
        assert sum(account["cash"] for account in row["accounts"]) == 0
        parent = row["parent"]
        assert (parent["executed_lots"], parent["remaining_lots"]) == (30, 0)
        assert parent["mean_price_tick"] == pytest.approx(-agent["cash"] / 30)
        assert [shock["name"] for shock in row["shocks"]] == ["thin"]

    def test_again_it_says_that_the_run_is_there(self, here, capsys):
        before = said(capsys, "run", "small.yaml", "--out", "a")
        assert run(["run", "small.yaml", "--out", "a", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == {**before, "status": "present"}
        assert "was there already" in err

    def test_without_a_folder_it_goes_to_one_of_its_name_and_seed(self, here, capsys):
        row = said(capsys, "run", "small.yaml", "--seed", "3")
        assert Path(row["out"]) == Path("runs/small/seed-3")

    def test_several_seeds_are_their_single_runs(self, here, capsys):
        rows = said(capsys, "run", "small.yaml", "--seeds", "4:7", "--out", "many")["runs"]
        assert [row["seed"] for row in rows] == [4, 5, 6]
        for row in rows:
            name = f"single-{row['seed']}"
            alone = said(capsys, "run", "small.yaml", "--seed", str(row["seed"]), "--out", name)
            assert alone["tape_hash"] == row["tape_hash"]
            assert Path(row["out"]) == Path("many") / f"seed-{row['seed']}"

    def test_another_scenario_in_its_folder_is_exit_2(self, here, capsys):
        said(capsys, "run", "small.yaml", "--out", "a")
        assert run(["run", "small.yaml", "--out", "a", "--set", "flow.depth=9"]) == 2
        assert "holds another run" in capsys.readouterr().err

    def test_a_name_of_a_shipped_scenario_works(self, here, capsys):
        short = ("--set", "session.duration=90s", "--set", "session.warmup=10s")
        row = said(capsys, "run", "calm", *short)
        assert row["scenario"] == "calm"

    def test_what_does_not_run_yet_is_exit_2_at_its_line(self, here, capsys):
        assert run(["run", "flash_crash"]) == 2
        err = capsys.readouterr().err
        assert "flash_crash.yaml:9:" in err
        assert "does not run yet" in err
        assert "Traceback" not in err
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            (("--seed", "1", "--seeds", "1:3"), "--seeds"),
            (("--seeds", "3:1"), "A:B"),
            (("--seeds", "many"), "A:B"),
            (("--seeds", "1:3", "--figure", "a.png"), "--figure"),
            (("--checkpoint", "soon"), "--checkpoint"),
            (("--checkpoint", "0s"), "checkpoint"),
        ],
    )
    def test_wrong_usage_is_exit_2(self, here, capsys, arguments, what):
        assert run(["run", "small.yaml", *arguments]) == 2
        assert what in capsys.readouterr().err

    def test_interrupted_it_says_how_to_go_on(self, here, capsys, monkeypatch):
        advance = Simulation.advance

        def interrupted(simulation, until_ns):
            if simulation.now_ns > 30 * 10**9:
                raise KeyboardInterrupt
            advance(simulation, until_ns)

        monkeypatch.setattr(Simulation, "advance", interrupted)
        assert run(["run", "small.yaml", "--out", "a", "--checkpoint", "10s"]) == 130
        assert "the same command goes on" in capsys.readouterr().err
        monkeypatch.undo()
        monkeypatch.chdir(here)
        assert said(capsys, "show", "a")["status"] == "unfinished"
        assert said(capsys, "run", "small.yaml", "--out", "a")["status"] == "resumed"

    def test_a_side_that_was_gone_is_said(self, here, capsys):
        gone = ("--set", "shocks[0].levels=1000", "--set", "shocks[0].fraction=1.0")
        row = said(capsys, "run", "small.yaml", "--out", "a", *gone)
        assert row["empty_side_ns"]["bid"] > 0
        assert row["empty_side_ns"]["ask"] == 0
        run(["show", "a"])
        assert "no bid at all for" in capsys.readouterr().err

    def test_the_table_and_the_figure(self, here, capsys):
        assert run(["run", "small.yaml", "--out", "a", "--figure", "a.png"]) == 0
        out, err = capsys.readouterr()
        assert "buy 30 of 30 at arrival" in out
        assert "a/tape" in err
        first = Path("a.png").read_bytes()
        assert run(["run", "small.yaml", "--out", "a", "--figure", "a.png"]) == 0
        assert Path("a.png").read_bytes() == first
        assert first.startswith(b"\x89PNG")


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_another_process_and_hash_seed_write_the_same_tape(here, capsys, hash_seed):
    expected = said(capsys, "run", "small.yaml", "--out", "here")["tape_hash"]
    found = subprocess.run(
        [sys.executable, "-m", "mtsim", "run", "small.yaml", "--out", "there", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert json.loads(found.stdout)["tape_hash"] == expected


class TestReplay:
    def test_it_finds_the_same_tape_and_book(self, here, capsys):
        ran = said(capsys, "run", "small.yaml", "--out", "a")
        found = said(capsys, "replay", "a")
        assert found["equal"] is True
        assert (found["tape_hash"], found["book_hash"]) == (ran["tape_hash"], ran["book_hash"])

    @pytest.mark.parametrize("verb", ["replay", "show", "run"])
    def test_a_damaged_run_is_exit_4_and_named(self, here, capsys, verb):
        said(capsys, "run", "small.yaml", "--out", "a")
        file = next(Path("a/tape").glob("*-results.parquet"))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        arguments = ["run", "small.yaml", "--out", "a"] if verb == "run" else [verb, "a"]
        assert run(arguments) == 4
        assert str(file) in capsys.readouterr().err

    def test_no_run_is_exit_3(self, here, capsys):
        assert run(["replay", "nowhere"]) == 3
        assert "no run is there" in capsys.readouterr().err


class TestShow:
    def test_a_run_with_its_accounts(self, here, capsys):
        ran = said(capsys, "run", "small.yaml", "--out", "a")
        shown = said(capsys, "show", "a")
        assert shown["status"] == "finished"
        assert {key: shown[key] for key in ran if key not in ("status", "out")} == {
            key: value for key, value in ran.items() if key not in ("status", "out")
        }
        assert run(["show", "a"]) == 0
        out = capsys.readouterr().out
        assert "background" in out
        assert ran["tape_hash"][:16] in out

    def test_a_run_takes_no_overrides(self, here, capsys):
        said(capsys, "run", "small.yaml", "--out", "a")
        assert run(["show", "a", "--set", "seed=3"]) == 2


def test_an_exported_run_is_what_a_reader_of_lobster_reads(here, capsys):
    ran = said(capsys, "run", "small.yaml", "--out", "a")
    written = said(capsys, "export", "a", "--out", "csv", "--levels", "5")
    messages = Path(written["messages"])
    assert messages.name.endswith("_message_5.csv")
    assert len(messages.read_text().splitlines()) == written["rows"] > 0
    assert len(Path(written["orderbook"]).read_text().splitlines()) == written["rows"]
    assert run(["data", "import", "lobster", str(messages), "--store", "store"]) == 0
    capsys.readouterr()
    assert ran["fills"] > 0


class TestTwin:
    def test_the_curve_with_interval_and_factor(self, here, capsys):
        found = said(capsys, "twin", "small.yaml", "--seeds", "0:4", "--participation", "0.3")
        assert found["seeds"] == [0, 1, 2, 3]
        assert found["participation"] == 0.3
        n = len(found["time_s"])
        for name in ("impact_ticks", "low_ticks", "high_ticks", "variance_reduction"):
            assert len(found[name]) == n
        assert found["low_ticks"][-1] <= found["impact_ticks"][-1] <= found["high_ticks"][-1]
        assert found["variance_reduction_median"] > 1
        assert all(first["time_s"] > 5 for first in found["first_divergence"])

    def test_no_participation_is_bit_identical(self, here, capsys):
        off = ("--set", "shocks[0].enabled=false")
        found = said(capsys, "twin", "small.yaml", "--seeds", "0:3", "--participation", "0", *off)
        assert found["identical"] is True
        assert set(found["impact_ticks"]) == {0}
        assert found["first_divergence"] == [None] * 3

    def test_a_market_alone_gets_an_order_of_a_tenth(self, here, capsys):
        alone = ("--set", "agent=null", "--set", "task=null", "--set", "shocks=[]")
        found = said(capsys, "twin", "small.yaml", "--seed", "1", *alone)
        assert found["participation"] == 0.1
        assert found["parent_lots"] > 0
        assert found["low_ticks"] is None

    def test_the_table_and_the_figure(self, here, capsys):
        assert run(["twin", "small.yaml", "--seeds", "0:3", "--figure", "t.png"]) == 0
        out, err = capsys.readouterr()
        assert "variance reduction" in out
        assert "times smaller" in err
        assert Path("t.png").read_bytes().startswith(b"\x89PNG")
