"""The benchmark of the loop measures right runs only, and says what it measured."""

import json

import pytest

from mtsim.bench import loop
from mtsim.errors import IntegrityError, UsageError


def test_the_rows_say_flow_books_threads_and_rates_and_survive_json():
    said = []
    result = loop.run(repetitions=2, events=6_000, books=(1, 3), pin=False, progress=said.append)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {(row["flow"], row["books"]) for row in result["rows"]} == {
        (flow, books)
        for flow in ("zero_intelligence", "hawkes", "queue_reactive")
        for books in (1, 3)
    }
    for row in result["rows"]:
        assert 0 < row["events_per_s_min"] <= row["events_per_s"] <= row["events_per_s_max"]
        assert (row["engine_share"] is None) == (row["threads"] > 1)
        assert row["threads"] > 1 or 0 < row["engine_share"] < 1
    assert "zero_intelligence, 1 books, 1 threads" in said
    assert len(loop.table(result)) == len(result["rows"])


def test_an_engine_that_ends_elsewhere_gets_no_figure(monkeypatch):
    flow = loop.flows()["zero_intelligence"]()
    monkeypatch.setattr(loop, "engine_alone", lambda books, tape: 1.0)
    with pytest.raises(IntegrityError, match="ends in other books"):
        loop.measure(flow, 1, 500, threads=1, repetitions=1)


def test_no_repetition_is_no_measurement():
    with pytest.raises(UsageError, match="repetitions is 0"):
        loop.run(repetitions=0)
