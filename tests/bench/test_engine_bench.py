"""The benchmark measures right runs only, says where it measured, and leaves no trace."""

import json
import os
import statistics

import pytest

from mtsim.bench import engine, machine, zi1
from mtsim.engine.reference import ReferenceBook
from mtsim.errors import IntegrityError, UsageError

SPEC = zi1.Spec(
    seed=1,
    prefill=400,
    timed=5_000,
    target=400,
    messages_sha256="f0b26b9c5daae8d8a3ac0755c042aecf8efe1896d5323fa269f72b5029ef4c88",
    fills_sha256="0fc857ba08893a026042befe3384b5462ceee322c23d8a57dba53bc7e9dd195d",
)


@pytest.fixture(scope="module")
def stream():
    return zi1.generate(SPEC)


@pytest.fixture
def few_books(monkeypatch):
    monkeypatch.setattr(engine, "BATCHES", ((6, 1), (6, 64), (3, 7)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MTSIM_CACHE_DIR", str(tmp_path))


def test_the_result_has_every_figure_and_survives_json(few_books, cache):
    said = []
    result = engine.run(spec=SPEC, repetitions=3, starts=False, progress=said.append)

    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["zi1_messages_sha256"] == SPEC.messages_sha256
    assert result["zi1_fills_sha256"] == SPEC.fills_sha256
    assert 0 < result["ns_per_message_min"] <= result["ns_per_message_median"]
    assert result["ns_per_message_median"] <= result["ns_per_message_max"]
    assert result["cold_start_s"] is result["warm_start_s"] is None
    assert result["machine"].keys() >= {"cpu", "cores", "python", "numba", "load_before"}
    assert any("zi1" in line for line in said)


def test_batches_say_how_many_books_messages_and_threads(few_books, cache):
    batch = engine.many_books(repetitions=2)
    threads = {entry["threads"] for entry in batch}
    assert 1 in threads
    assert len(batch) == 3 * len(threads)
    assert {(entry["books"], entry["messages_each"]) for entry in batch} == set(engine.BATCHES)
    assert all(0 < entry["ns_min"] <= entry["ns"] for entry in batch)


def test_batches_and_starts_can_be_left_out(cache):
    result = engine.run(spec=SPEC, repetitions=1, batches=False, starts=False)
    assert result["batch"] == []
    assert len(engine.table(result)) == 3


class TakersPrice(ReferenceBook):
    """Fills at the taker's price, as a published engine did."""

    def process(self, messages):
        outcome = super().process(messages)
        outcome.fills["price_tick"] += 1
        return outcome


def test_a_wrong_engine_gets_no_figure(stream):
    assert engine.one_book(stream, SPEC.prefill, ReferenceBook) > 0
    with pytest.raises(IntegrityError, match=f"zi1: fills have .* right is {SPEC.fills_sha256}"):
        engine.one_book(stream, SPEC.prefill, TakersPrice)


def test_a_missing_fill_is_noticed_in_every_run(stream, monkeypatch):
    short = zi1.Stream(stream.rows, stream.fills[:-1])
    with pytest.raises(IntegrityError, match="plain Python: fills"):
        engine.python_book(short, SPEC.prefill)
    with pytest.raises(IntegrityError, match="zi1: fills"):
        engine.one_book(short, SPEC.prefill, ReferenceBook)
    make = zi1.generate

    def one_short(spec):
        made = make(spec)
        return zi1.Stream(made.rows, made.fills[:-1]) if spec.seed == 2 else made

    monkeypatch.setattr(engine, "BATCHES", ((6, 64),))
    monkeypatch.setattr(zi1, "generate", one_short)
    with pytest.raises(IntegrityError, match="6 books x 64: fills"):
        engine.many_books(repetitions=1)


def test_the_table_names_every_figure():
    result = {
        "ns_per_message_median": 30.04,
        "ns_per_message_min": 28.0,
        "python_ns_per_message_median": 400.0,
        "python_ns_per_message_min": 390.0,
        "ratio_to_python": 13.32,
        "batch": [{"books": 1024, "messages_each": 1, "threads": 2, "ns": 50.0, "ns_min": 49.0}],
        "cold_start_s": 3.5,
        "warm_start_s": 0.8,
    }
    assert engine.table(result) == [
        ("zi1, one book", "30.0 ns", "28.0 ns"),
        ("zi1, plain Python", "400.0 ns", "390.0 ns"),
        ("times faster than plain Python", "13.3", ""),
        ("1,024 books x 1, 2 threads", "50.0 ns", "49.0 ns"),
        ("first message, cold cache", "3.50 s", ""),
        ("first message, warm cache", "0.80 s", ""),
    ]


def test_no_repetition_is_no_measurement():
    with pytest.raises(UsageError, match="repetitions is 0"):
        engine.run(spec=SPEC, repetitions=0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no core to stay on")
def test_pinning_takes_one_core_and_gives_all_back():
    before = os.sched_getaffinity(0)

    def fail_while_pinned():
        with machine.pinned() as core:
            assert os.sched_getaffinity(0) == {core}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_while_pinned()
    assert os.sched_getaffinity(0) == before


def test_the_machine_is_described_in_json_values():
    words = machine.describe()
    assert json.loads(json.dumps(words)) == words
    assert words["cpu"]
    assert words["cores"] >= 1


@pytest.mark.slow
def test_a_warm_start_compiles_nothing():
    """The second process finds what the first one compiled; the margin is a compilation's."""
    starts = engine.start_times()
    assert 0 < starts["warm_start_import_s"] < starts["warm_start_s"] < starts["cold_start_s"]


@pytest.mark.slow
@pytest.mark.golden
def test_zi1_gives_its_published_digests_on_the_numba_book():
    from mtsim.engine.book import Book

    made = zi1.stream()
    fills = Book().process(zi1.to_messages(made.rows)).fills
    assert zi1.sha256(zi1.to_fill_rows(fills)) == zi1.ZI1.fills_sha256


@pytest.mark.slow
def test_zi1_ends_at_the_published_touch_however_it_is_cut():
    from mtsim.engine.book import Book

    messages = zi1.to_messages(zi1.stream().rows)
    hashes = set()
    for run in (1_000, 8_192, len(messages)):
        book = Book()
        for start in range(0, len(messages), run):
            book.process(messages[start : start + run])
        assert book.touch() == (100_002, 100_003)
        hashes.add(book.hash())
    assert len(hashes) == 1


def test_median_extremes_and_ratio_are_of_all_repetitions(monkeypatch, cache):
    """The first run warms up and counts for nothing; the ratio is that of the median pair."""
    fast, slow = iter([9.0, 5.0, 1.0, 3.0]), iter([50.0, 30.0, 21.0])
    monkeypatch.setattr(engine, "one_book", lambda *_: next(fast))
    monkeypatch.setattr(engine, "python_book", lambda *_: next(slow))
    result = engine.run(spec=SPEC, repetitions=3, batches=False, starts=False)
    assert result["ns_per_message_median"] == statistics.median([5.0, 1.0, 3.0])
    assert (result["ns_per_message_min"], result["ns_per_message_max"]) == (1.0, 5.0)
    assert result["python_ns_per_message_median"] == 30.0
    assert result["ratio_to_python"] == 10.0
