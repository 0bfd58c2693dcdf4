"""`mtsim data prepare` and `mtsim data tokens`: results on stdout, the rest on stderr."""

import json
from pathlib import Path

import pytest

from mtsim.cli.app import run
from mtsim.cli.datasets import shown
from mtsim.model.dataset import Dataset
from mtsim.model.split import Part
from tests.model.made_up_store import busy_store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    return str(busy_store(tmp_path_factory.mktemp("cli") / "store", {"A": 4}).folder)


@pytest.fixture
def out(tmp_path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def prepared(store, out, capsys) -> str:
    bins = ["--bins", "add=12,cancel=6,lots=4,gap=4"]
    assert run(["data", "prepare", store, "--schema", "book", "--out", out, *bins]) == 0
    capsys.readouterr()
    return out


class TestPrepare:
    def test_sizes_and_parts_are_said(self, store, out, capsys):
        arguments = ["data", "prepare", store, "--out", out, "--schema", "trades-579"]
        assert run(arguments) == 0
        captured = capsys.readouterr()
        assert "UP A 2020-01-01" in captured.out
        assert "no_trade" in captured.out
        assert captured.out.index("train") < captured.out.index("validation")
        assert "Preparing" not in captured.out
        assert f"Preparing {out}" in captured.err
        assert "trades-579, " in captured.err
        assert Dataset.open(out).manifest["schema"]["name"] == "trades-579"

    def test_again_it_is_there_already(self, store, prepared, capsys):
        bins = "add=12,cancel=6,lots=4,gap=4"
        assert run(["data", "prepare", store, "--out", prepared, "--bins", bins, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "present"

    def test_json_ties_everything_together(self, store, out, capsys):
        arguments = ["data", "prepare", store, "--out", out, "--schema", "tradefm", "--json"]
        assert run([*arguments, "--bins", "price=8,lots=8,gap=8"]) == 0
        value = json.loads(capsys.readouterr().out)
        manifest = Dataset.open(out).manifest
        assert value["status"] == "prepared"
        assert value["schema"] == "tradefm"
        for name in ("identity", "tokenizer_sha256", "vocabulary", "positions", "sessions"):
            assert value[name] == manifest[name]
        assert list(value["parts"]) == ["train", "validation", "test"]
        files = [path for path in Path(out).iterdir() if path.name in manifest["files"]]
        assert value["bytes"] == sum(path.stat().st_size for path in files)

    def test_a_split_file_decides(self, store, out, tmp_path, capsys):
        split = tmp_path / "split.yaml"
        split.write_text("dates: {validation_from: 2020-01-03, test_from: 2020-01-04}\n")
        arguments = ["data", "prepare", store, "--out", out, "--split", str(split), "--json"]
        assert run([*arguments, "--bins", "add=12,cancel=6,lots=4,gap=4"]) == 0
        sessions = json.loads(capsys.readouterr().out)["sessions"]
        parts = [list(session["parts"]) for session in sessions]
        assert parts == [["train"], ["train"], ["validation"], ["test"]]

    def test_only_some_sessions_and_only_long_stretches(self, store, out, capsys):
        arguments = ["data", "prepare", store, "--out", out, "--sessions", "UP A *-0[1-3]"]
        bins = ["--bins", "add=12,cancel=6,lots=4,gap=4"]
        assert run([*arguments, *bins, "--quiet-s", "0.002", "--json"]) == 0
        value = json.loads(capsys.readouterr().out)
        assert len(value["sessions"]) == 3
        assert all(session["stretches"] > 1 for session in value["sessions"])

    def test_a_mistake_in_the_split_is_exit_2_with_its_line(self, store, out, tmp_path, capsys):
        split = tmp_path / "split.yaml"
        split.write_text("purge_days: 0\nfractoins: {}\n")
        assert run(["data", "prepare", store, "--out", out, "--split", str(split)]) == 2
        captured = capsys.readouterr()
        assert f"{split}:2:1: fractoins" in captured.err
        assert "Did you mean 'fractions'?" in captured.err
        assert captured.out == ""
        assert not Path(out).exists()

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["--bins", "lost=4"], 2, "no bins are called 'lost'"),
            (["--bins", "lots"], 2, "NAME=COUNT"),
            (["--bins", "lots=1"], 2, "from 2 to"),
            (["--schema", "bok"], 2, "book"),
            (["--sessions", "Z"], 2, "it holds UP A 2020-01-01"),
            (["--quiet-s", "-1"], 2, "--quiet-s"),
            (["--split", "none.yaml"], 3, "none.yaml"),
        ],
    )
    def test_a_wrong_option_is_said(self, store, out, arguments, code, said, capsys):
        assert run(["data", "prepare", store, "--out", out, *arguments]) == code
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.out == ""
        assert not Path(out).exists()

    def test_a_store_that_is_not_there_is_exit_3(self, out, tmp_path, capsys):
        assert run(["data", "prepare", str(tmp_path / "no"), "--out", out]) == 3
        assert "no such folder" in capsys.readouterr().err

    def test_a_folder_that_is_taken_is_exit_2(self, store, prepared, capsys):
        assert run(["data", "prepare", store, "--out", prepared, "--schema", "tradefm"]) == 2
        assert "holds another data set" in capsys.readouterr().err

    def test_progress_is_a_bar(self):
        said: list[str] = []
        show = shown(said.append)
        show("observing A", 500, 1000)
        show("observing A", 501, 1000)
        assert len(said) == 1
        assert "############............ 500 of 1,000 events" in said[0]


class TestTokens:
    def test_tables_say_vocabulary_entropy_and_commonest(self, prepared, capsys):
        assert run(["data", "tokens", prepared]) == 0
        out = capsys.readouterr().out
        for said in ("vocabulary", "nats", "effective", "clipped", "joins the touch", "commonest"):
            assert said in out

    def test_json_has_the_same(self, prepared, capsys):
        assert run(["data", "tokens", prepared, "--json"]) == 0
        value = json.loads(capsys.readouterr().out)
        assert value["schema"] == "book"
        assert value["parts"][Part.TRAIN.name.lower()]["events"] > 4000
        assert len(value["commonest"]) == 10

    def test_a_figure_is_written(self, prepared, tmp_path, capsys):
        figure = tmp_path / "bins.png"
        assert run(["data", "tokens", prepared, "--figure", str(figure)]) == 0
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert str(figure) in capsys.readouterr().err

    def test_no_data_set_is_exit_3(self, tmp_path, capsys):
        assert run(["data", "tokens", str(tmp_path)]) == 3
        assert "mtsim data prepare" in capsys.readouterr().err

    def test_a_damaged_data_set_is_exit_4(self, prepared, capsys):
        path = Path(prepared) / "tokenizer.json"
        path.write_bytes(path.read_bytes()[:-10])
        assert run(["data", "tokens", prepared]) == 4
        assert "tokenizer.json" in capsys.readouterr().err
