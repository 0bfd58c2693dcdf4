"""The command line as a user meets it: results on stdout, remarks on stderr, telling exit codes."""

import json
import os
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from mtsim import __version__
from mtsim.cli.app import VERBS, run
from mtsim.scenario import loads
from mtsim.scenario.catalogue import shipped
from mtsim.scenario.tree import parse

BAD = """\
session: {duration: 30parsec}
shocks:
  - type: mass_cancel
    fraction: 1.5
    durration: 60s
"""


@pytest.fixture
def bad_file(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    return str(file)


def mtsim(*arguments, **environment) -> subprocess.CompletedProcess:
    """The command in a process of its own, as a shell would start it."""
    return subprocess.run(
        [sys.executable, "-m", "mtsim", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


class TestFrame:
    def test_help_names_every_verb(self, capsys):
        assert run(["--help"]) == 0
        out = capsys.readouterr().out
        verbs = [file.stem.replace("_", "-") for file in VERBS.glob("[!_]*.py")]
        assert len(verbs) >= 6
        assert all(verb in out for verb in verbs)

    @pytest.mark.parametrize("verb", sorted(f.stem for f in VERBS.glob("[!_]*.py")))
    def test_every_verb_has_a_help_of_one_line_and_its_own_page(self, verb, capsys):
        first = (VERBS / f"{verb}.py").read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith('"""')
        assert first.rstrip('"').endswith(".")
        assert run([verb.replace("_", "-"), "--help"]) == 0
        assert f"mtsim {verb.replace('_', '-')}" in capsys.readouterr().out

    def test_version(self, capsys):
        assert run(["--version"]) == 0
        assert capsys.readouterr().out.strip() == __version__

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["vallidate"], 'Did you mean "validate"'),
            (["validate"], "requires an argument"),
            (["show", "calm", "--nothing"], "--nothing"),
            (["ls", "moons"], "moons"),
            (["show", "calm", "--seed", "x"], "x"),
        ],
    )
    def test_wrong_usage_is_exit_2_on_stderr(self, arguments, said, capsys):
        assert run(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert said in captured.err
        assert "Traceback" not in captured.err

    def test_completion_is_offered(self, capsys):
        assert run(["--help"]) == 0
        assert "--install-completion" in capsys.readouterr().out

    def test_a_reader_who_leaves_early_is_no_error(self):
        program = f"{sys.executable} -m mtsim schema | head -1"
        result = subprocess.run(program, shell=True, capture_output=True, text=True, check=False)
        assert result.stdout == "{\n"
        assert result.stderr == ""

    def test_no_color_is_respected(self):
        result = mtsim("ls", "shocks", NO_COLOR="1", FORCE_COLOR="")
        assert result.returncode == 0
        assert "\x1b[" not in result.stdout

    def test_an_interrupt_is_exit_130(self, monkeypatch, capsys):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("mtsim.cli.verbs.schema.json_schema", interrupt)
        assert run(["schema"]) == 130
        assert capsys.readouterr().err == "interrupted\n"


class TestValidate:
    def test_shipped_scenarios_are_valid(self, capsys):
        assert run(["validate", *map(str, shipped())]) == 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.strip() == f"{len(shipped())} of {len(shipped())} scenarios are valid"

    def test_all_problems_come_out_at_once_with_carets(self, bad_file, capsys):
        assert run(["validate", bad_file]) == 2
        out = capsys.readouterr().out
        assert f"{bad_file}:1:21: session.duration: unknown unit 'parsec'" in out
        assert f"{bad_file}:4:15: shocks[0].fraction: must be at most 1, got 1.5" in out
        assert f"{bad_file}:5:5: shocks[0].durration: unknown key 'durration'. Did you mean" in out
        assert "\n    5 |     durration: 60s\n      |     ^^^^^^^^^\n" in out

    def test_json_says_the_same(self, bad_file, capsys):
        assert run(["validate", bad_file, "--json"]) == 2
        result = json.loads(capsys.readouterr().out)
        assert (result["files"], result["invalid"]) == (1, 1)
        places = [(p["file"], p["line"], p["column"], p["path"]) for p in result["problems"]]
        assert places == [
            (bad_file, 1, 21, "session.duration"),
            (bad_file, 4, 15, "shocks[0].fraction"),
            (bad_file, 5, 5, "shocks[0].durration"),
        ]

    def test_good_and_bad_files_are_told_apart(self, bad_file, capsys):
        assert run(["validate", str(shipped()[0]), bad_file]) == 2
        assert "1 of 2 scenarios are valid" in capsys.readouterr().err

    def test_overrides_are_checked_with_each_file(self, capsys):
        assert run(["validate", str(shipped()[0]), "--set", "seed=-1"]) == 2
        assert capsys.readouterr().out.startswith("--set seed=-1: seed: must be at least 0")

    def test_a_dry_run_prints_the_resolved_scenario(self, capsys):
        assert run(["validate", str(shipped()[0]), "--dry-run", "--set", "seed=5"]) == 0
        out = capsys.readouterr().out
        assert loads(out).scenario.seed == 5
        assert "# --set seed=5" in out
        assert run(["validate", str(shipped()[0]), "--dry-run", "--json"]) == 2

    @pytest.mark.parametrize("name", ["nothing.yaml", "."])
    def test_a_file_that_cannot_be_read_is_a_problem_of_its_own(self, name, tmp_path, capsys):
        assert run(["validate", str(tmp_path / name)]) == 2
        assert "cannot be read" in capsys.readouterr().out


class TestShow:
    def test_what_is_shown_is_a_scenario(self, capsys):
        assert run(["show", "calm", "--seed", "3", "--set", "latency.sigma=0.5"]) == 0
        out = capsys.readouterr().out
        scenario = loads(out).scenario
        assert (scenario.seed, scenario.latency.sigma, scenario.name) == (3, 0.5, "calm")
        assert "# --set latency.sigma=0.5" in out
        assert "# default" in out

    def test_json_reads_back_too(self, capsys):
        assert run(["show", "mass_cancel", "--json"]) == 0
        mapping = json.loads(capsys.readouterr().out)
        assert loads(mapping).scenario.shocks[0].type == "mass_cancel"

    def test_an_unknown_name_is_exit_3_with_the_nearest(self, capsys):
        assert run(["show", "mass_cansel"]) == 3
        assert "Did you mean 'mass_cancel'?" in capsys.readouterr().err

    def test_a_bad_file_is_exit_2_on_stderr(self, bad_file, capsys):
        assert run(["show", bad_file]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"ScenarioError: {bad_file}:1:21: session.duration")


class TestSchema:
    def test_shipped_scenarios_satisfy_the_json_schema(self, capsys):
        assert run(["schema"]) == 0
        validator = Draft202012Validator(json.loads(capsys.readouterr().out))
        for file in shipped():
            tree, _ = parse(file.read_bytes(), file.name)
            assert [error.message for error in validator.iter_errors(plain(tree))] == [], file.name

    def test_the_json_schema_refuses_what_validate_refuses(self, capsys):
        assert run(["schema"]) == 0
        validator = Draft202012Validator(json.loads(capsys.readouterr().out))
        tree, _ = parse("sede: 1\nlatency: {sigma: -1}", "f")
        assert len(list(validator.iter_errors(plain(tree)))) == 2


def plain(node):
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


class TestInit:
    def test_what_it_writes_is_valid_and_commented(self, tmp_path, capsys):
        file = tmp_path / "mine.yaml"
        assert run(["init", str(file)]) == 0
        assert capsys.readouterr().out.strip() == str(file)
        assert run(["validate", str(file)]) == 0
        assert file.read_text().count("#") >= 5

    def test_it_replaces_a_file_only_when_told_to(self, tmp_path, capsys):
        file = tmp_path / "mine.yaml"
        file.write_text("mine")
        assert run(["init", str(file)]) == 2
        assert file.read_text() == "mine"
        assert "--force" in capsys.readouterr().err
        assert run(["init", str(file), "--force"]) == 0
        assert file.read_text() != "mine"

    def test_a_folder_that_is_not_there_is_a_clear_error(self, tmp_path, capsys):
        assert run(["init", str(tmp_path / "no" / "mine.yaml")]) == 1
        assert "No such file or directory" in capsys.readouterr().err


class TestLs:
    @pytest.mark.parametrize(
        "what", ["scenarios", "flows", "openings", "agents", "tasks", "shocks"]
    )
    def test_a_table_and_the_same_as_json(self, what, capsys):
        assert run(["ls", what]) == 0
        table = capsys.readouterr().out
        assert run(["ls", what, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert rows
        assert all(next(iter(row.values())) in table for row in rows)

    def test_every_shipped_scenario_is_listed(self, capsys):
        assert run(["ls", "--json"]) == 0
        names = [row["scenario"] for row in json.loads(capsys.readouterr().out)]
        assert names == [file.stem for file in shipped()]


class TestDoctor:
    def test_it_reports_what_matters(self, capsys):
        assert run(["doctor", "--json"]) == 0
        rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
        assert rows["numba"]["status"] == "ok"
        assert {"cores", "gpu", "compiled code", "disk", "extra dev", "extra rl"} <= set(rows)
        absent = [
            row
            for row in rows.values()
            if row["what"].startswith("extra") and row["status"] == "absent"
        ]
        assert all(row["remedy"].startswith("pip install ") for row in absent)

    def test_a_cache_of_somebody_else_is_named(self, tmp_path, monkeypatch, capsys):
        from numba.core import config

        monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
        monkeypatch.setattr(os, "getuid", lambda: 4242)
        assert run(["doctor", "--json"]) == 0
        rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["compiled code"]["status"] == "foreign"
        assert "NUMBA_CACHE_DIR" in rows["compiled code"]["remedy"]

    def test_warming_fills_the_cache(self, tmp_path):
        cold = mtsim("doctor", "--json", NUMBA_CACHE_DIR=str(tmp_path))
        warm = mtsim("doctor", "--json", "--warm", NUMBA_CACHE_DIR=str(tmp_path))
        status = [
            {row["what"]: row["status"] for row in json.loads(result.stdout)}["compiled code"]
            for result in (cold, warm)
        ]
        assert status == ["cold", "warm"]
