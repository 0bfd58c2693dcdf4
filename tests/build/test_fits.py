"""Fits of flows to stored sessions: what they say, and the closed loop beside the session."""

from dataclasses import replace

import numpy as np
import pytest

from mtsim.build.fits import fit_session, opening_like, pieces_of_day, reference_orders
from mtsim.build.fitting import order_events
from mtsim.build.stored import find_session
from mtsim.engine.events import EventType
from mtsim.errors import MissingError, UsageError
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.placing import CANCEL_DEEP, CANCEL_TOUCH, DEEP, INSIDE, MARKET, TOUCH
from mtsim.model.ingest import import_session
from mtsim.model.sources.base import Options
from mtsim.model.sources.lobster import open_sessions
from mtsim.model.store import Store
from tests.engine.streams import batch, cancel, limit
from tests.model.lived import recorded, with_marker
from tests.model.made_up_store import import_busy

SECOND_NS = 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("fits") / "store")
    import_busy(made, 6_000)
    return made


def test_actions_are_told_as_order_events():
    messages = batch(
        limit(0, 100, 5, 1),
        limit(1, 104, 5, 2),
        limit(0, 102, 3, 3),  # two ticks inside
        limit(0, 102, 4, 4),  # joins
        limit(0, 99, 9, 5),  # behind
        limit(1, 102, 4, 6),  # takes four of seven
        cancel(4),  # at the best price
        cancel(5),
    )
    rows = recorded(messages, SECOND_NS * np.arange(8))
    events = order_events([rows])
    # The first order meets an empty book, where there is no distance: it is no action.
    assert events.time_ns.tolist() == [second * SECOND_NS for second in range(1, 8)]
    assert events.kind.tolist()[1:] == [INSIDE, TOUCH, DEEP, MARKET, CANCEL_TOUCH, CANCEL_DEEP]
    assert events.side.tolist()[1:] == [0, 0, 0, 1, 0, 0]
    assert events.distance_ticks.tolist()[1:] == [2, 0, 3, 0, 0, 1]
    assert events.lots.tolist()[1:] == [3, 4, 9, 4, 3, 9]
    assert events.best_lots.tolist()[1:] == [5, 3, 7, 7, 3, 5]
    assert events.spread_ticks.tolist() == [0, 4, 2, 2, 2, 2, 4]
    assert events.resting_lots.tolist()[1:3] == [10, 13]
    assert events.opens.tolist() == [True] + [False] * 6
    apart = order_events([with_marker(rows, 4, EventType.GAP)])
    assert np.flatnonzero(apart.opens).tolist() == [0, 3]
    assert apart.seconds() == 5


def test_a_day_has_pieces_of_ten_minutes_or_more(store):
    events = order_events(store.sessions()[0])
    long = replace(events, time_ns=np.linspace(0, 23_400e9, len(events)).astype(np.int64))
    ends_ns = pieces_of_day(long)
    assert ends_ns[[0, -1]].tolist() == [1_800 * SECOND_NS, 21_600 * SECOND_NS]
    short = replace(events, time_ns=np.linspace(0, 700e9, len(events)).astype(np.int64))
    assert len(pieces_of_day(short)) == 0


def test_an_opening_is_like_the_session(store):
    events = order_events(store.sessions()[0])
    orders = reference_orders(events)
    opening = opening_like(events, orders)
    assert orders >= 10
    assert np.bincount(opening["side"]).tolist() == [2 * -(-orders // 2)] * 2


def test_zero_intelligence_is_fitted_to_a_session(store):
    session = store.sessions()[0]
    fit = fit_session("zero_intelligence", session)
    assert fit.source["session"] == str(session.key)
    assert fit.source["manifest_sha256"] == session.manifest_sha256
    for row in fit.rates[::2]:
        assert row.ratio == pytest.approx(1, abs=0.15)
    again = fit_session("zero_intelligence", session)
    assert again == fit


def test_sessions_are_found_by_folder_or_by_symbol_and_date(store):
    (folder,) = store.folders()
    expected = find_session(str(folder))
    assert expected.folder == folder
    assert find_session(f"{store.folder}/BUSY/2020-01-02").folder == folder
    assert find_session(f"{store.folder}/UP/BUSY/2020-01-02").folder == folder
    with pytest.raises(MissingError, match="no session of BUSY on 2020-01-03"):
        find_session(f"{store.folder}/BUSY/2020-01-03")
    with pytest.raises(MissingError, match="no stored session"):
        find_session("nowhere")


def test_a_symbol_of_two_venues_has_to_be_said_in_full(store, tmp_path):
    (folder,) = store.folders()
    for venue in ("A", "B"):
        target = tmp_path / venue / "BUSY" / "2020-01-02"
        target.mkdir(parents=True)
        for file in folder.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UsageError, match="sessions of 2 venues: A, B"):
        find_session(f"{tmp_path}/BUSY/2020-01-02")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero_intelligence", "hawkes", "queue_reactive"])
def test_fitted_flows_have_the_rates_of_a_real_session(kind, market_data, tmp_path):
    """Within 5 %, in simulations that nothing was matched on."""
    file = market_data / "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"
    (source,) = open_sessions((str(file),), Options())
    session = import_session(source, Store(tmp_path / "store"), keep=True)
    fit = fit_session(kind, session)
    for row in fit.rates:
        assert row.ratio == pytest.approx(1, abs=0.05), row
    if kind == "hawkes":
        assert 0.5 < fit.summary["branching_ratio"] < 1
        assert Hawkes.from_json(fit.parameters).as_json() == fit.parameters
        # Matched in the mean; that real gaps are not exponential in their intensities is told.
        assert fit.summary["rescaling"]["mean"] == pytest.approx(1, abs=0.01)
        assert fit.summary["rescaling"]["distance"] < 0.1
