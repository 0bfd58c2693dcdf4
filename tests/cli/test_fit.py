"""`mtsim fit`: what it prints, what it writes, and how it complains."""

import json

import pytest

from mtsim.cli.app import run
from mtsim.flow.fit_zero_intelligence import from_json
from mtsim.flow.fitted import read_fitted
from mtsim.model.store import Store
from tests.model.made_up_store import import_busy


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("fit") / "store")
    import_busy(made, 4_000)
    return made


def test_zi_prints_parameters_and_rates_and_writes_what_it_found(store, tmp_path, capsys):
    out = tmp_path / "zi.json"
    name = f"{store.folder}/BUSY/2020-01-02"
    assert run(["fit", "zi", name, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "zero_intelligence"
    assert found["session"] == "UP BUSY 2020-01-02"
    assert [row["event"] for row in found["rates_per_s"]] == ["add", "cancel", "market"]
    flow = read_fitted(out, "zero_intelligence", from_json)
    assert (flow.add_rate, flow.depth) == (found["add_rate"], found["depth"])


def test_queue_reactive_prints_a_table(store, capsys):
    (folder,) = store.folders()
    assert run(["fit", "queue-reactive", str(folder), "--levels", "12"]) == 0
    shown = capsys.readouterr().out
    for word in ("levels", "unit_lots", "simulated per s", "market"):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["zi", "nowhere"], 3, "nowhere: no stored session"),
        (["hawkes", "{store}/OTHER/2020-01-02"], 3, "no session of OTHER"),
        (["hawkes", "{store}/BUSY/2020-01-02", "--decays", "fast"], 2, "--decays: numbers"),
        (["hawkes", "{store}/BUSY/2020-01-02", "--decays", "-1"], 2, "decays above 0, got (-1.0,)"),
        (["queue-reactive", "{store}/BUSY/2020-01-02", "--levels", "99"], 2, "1 to 50 levels"),
    ],
)
def test_what_cannot_be_done_is_said(store, capsys, arguments, code, complaint):
    asked = [argument.replace("{store}", str(store.folder)) for argument in arguments]
    assert run(["fit", *asked]) == code
    assert complaint in capsys.readouterr().err
