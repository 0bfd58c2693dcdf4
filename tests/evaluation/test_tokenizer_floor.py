"""The tokenizer floor: what tokens alone keep of a market, on generated and on real sessions."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mtsim.cli.app import run
from mtsim.engine.batch import Books
from mtsim.engine.events import to_messages
from mtsim.engine.messages import TimeInForce
from mtsim.errors import UsageError
from mtsim.evaluation.tokenizer_floor import Lived, _mid_x2, measure, measure_dataset
from mtsim.model.history import observe_session
from mtsim.model.ingest import import_files, import_session
from mtsim.model.past import Settings
from mtsim.model.prepare import Wishes, prepare
from mtsim.model.schemas import schema_named
from mtsim.model.sources.base import Options
from mtsim.model.sources.bitstamp import open_sessions as open_bitstamp
from mtsim.model.sources.databento import open_sessions as open_databento
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.split import loads
from mtsim.model.store import Store, StoredSession
from mtsim.model.tokenizer import Tokenizer, Training
from tests.model.generated_feed import made_up

FINE = {"add": 24, "cancel": 12, "lots": 8}
COARSE = {"add": 12, "cancel": 7, "lots": 2, "gap": 4}


def fitted(session: StoredSession, bins=None, schema="book") -> Tokenizer:
    actions = [observed.actions for observed in observe_session(session)]
    return Tokenizer.fit(
        schema_named(schema, bins), lambda: [Training("", actions)], saw="all of it"
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> StoredSession:
    folder = tmp_path_factory.mktemp("floor")
    source = made_up(folder / "feed", seed=3, n=12_000)
    return import_session(source, Store(folder / "store"))


def test_the_mid_is_told_by_actions_and_features_alone(session):
    """It is that of the book just before each action."""
    observed = next(iter(observe_session(session)))
    books, mids = Books(1), []
    rows = np.concatenate(list(session.events()))
    for message, origin in zip(
        to_messages(rows), rows["origin"][rows["type"] < 8].tolist(), strict=True
    ):
        if origin == 0:
            bid, ask = books.touch()[0].tolist()
            mids.append(bid + ask)
        books.process(message.reshape(1))

    found = _mid_x2(Lived(observed.actions, observed.features))

    # Replacements are two actions of one event: compare where there is one action an event.
    assert len(found) >= len(mids)
    at = np.flatnonzero(observed.actions["gap_ns"] > 0)
    firsts = np.concatenate([[0], at])
    assert np.array_equal(found[firsts][: len(mids)], mids[: len(firsts)])


def test_bins_that_tell_more_apart_keep_more(session):
    fine = measure(session, fitted(session, FINE), Settings()).as_json()
    coarse = measure(session, fitted(session, COARSE), Settings()).as_json()

    assert fine["actions"] == coarse["actions"] > 10_000
    # Of lots alone nothing is lost in either: they are drawn from what they were.
    assert fine["tv"]["add_lots"] == coarse["tv"]["add_lots"]
    assert fine["tv"]["spread"] < coarse["tv"]["spread"]
    assert fine["mean_tv"] < coarse["mean_tv"]
    assert abs(fine["move_rate_ratio"] - 1) < 0.03
    assert fine["edited"] == coarse["edited"] == 0


def test_the_same_seed_gives_the_same_floor_and_another_seed_another(session):
    tokenizer = fitted(session, FINE)
    one = measure(session, tokenizer, Settings(), seed=1).as_json()

    assert measure(session, tokenizer, Settings(), seed=1).as_json() == one
    assert measure(session, tokenizer, Settings(), seed=2).as_json() != one


def test_the_noise_is_of_real_against_real(session):
    """It does not depend on the tokenizer."""
    rows = [
        measure(session, fitted(session, bins), Settings()).as_json() for bins in (FINE, COARSE)
    ]

    assert rows[0]["noise_tv"] == rows[1]["noise_tv"]
    assert rows[0]["move_rate_real"] == rows[1]["move_rate_real"]
    json.dumps(rows, allow_nan=False)


def test_tokens_that_no_book_executes_are_refused(session):
    with pytest.raises(UsageError, match="Use schema book"):
        measure(session, fitted(session, {}, "tradefm"), Settings())


def test_the_command_prints_a_row_a_session(session, tmp_path, capsys):
    store = str(session.folder.parents[2])
    out = str(tmp_path / "data")
    bins = ["--bins", "add=12,cancel=7,lots=6,gap=6"]
    assert run(["data", "prepare", store, "--schema", "book", "--out", out, *bins]) == 0
    capsys.readouterr()

    assert run(["eval", "tokenizer", out, "--json"]) == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert row["session"] == str(session.key)
    assert {"move_rate_ratio", "mean_tv", "noise_mean_tv"} <= set(row)
    assert run(["eval", "tokenizer", out]) == 0
    assert "mean TV" in capsys.readouterr().out
    assert run(["eval", "tokenizer", out, "--store", str(tmp_path / "nowhere")]) != 0


def test_a_session_without_a_book_and_a_short_one_have_rows_too(session, tmp_path):
    def trades(feed, truth):
        return feed[feed["message"]["tif"] == TimeInForce.IOC], None

    store = Store(tmp_path / "store")
    for day, source in {
        1: made_up(tmp_path / "a", seed=3, n=4_000),
        2: made_up(tmp_path / "b", seed=4, n=40),
        3: made_up(tmp_path / "c", seed=5, n=4_000, change=trades, truth_levels=0),
    }.items():
        source.session = replace(source.session, date=date(2020, 1, day))
        import_session(source, store)
    asked = Wishes(schema_named("book", COARSE), loads("{purge_events: 10, held_out: []}"))
    dataset = prepare(store, tmp_path / "data", asked).dataset

    rows = [floor.as_json() for floor in measure_dataset(dataset)]

    assert [row["stretches"] > 0 for row in rows] == [True, False, False]
    assert rows[2]["actions"] == 0
    assert rows[2]["mean_tv"] is None
    json.dumps(rows, allow_nan=False)


FEEDS = {
    "AMZN": (open_lobster, "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"),
    "AAPL level 50": (open_lobster, "lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv.zst"),
    "ES": (open_databento, "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst"),
    "Bitstamp": (open_bitstamp, "bitstamp_l3/BTCUSD_2015-05-01_00-16h_raw.log.zst"),
}


@pytest.mark.parametrize("feed", FEEDS)
def test_the_default_tokens_keep_a_real_session(market_data, tmp_path, feed):
    """The gates: the rate at which prices move within 3 %, mean total variation at most 0.05."""
    open_sessions, file = FEEDS[feed]
    files = (str(market_data / file),)
    for one in import_files(open_sessions, files, Options(), Store(tmp_path), keep=True):
        assert one.stored is not None
        row = measure(one.stored, fitted(one.stored), Settings()).as_json()

        assert 0.97 <= row["move_rate_ratio"] <= 1.03
        assert row["mean_tv"] <= 0.05
        assert row["lost"] == 0
