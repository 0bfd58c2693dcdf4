"""The benchmark stream is the one that its specification describes, whichever way it is had."""

import dataclasses

import numpy as np
import pytest

from mtsim.bench import zi1
from mtsim.bench.python_book import PythonBook
from mtsim.engine.messages import Kind
from mtsim.engine.reference import ReferenceBook
from mtsim.errors import IntegrityError

# Digests that the generator of the specification gives for these parameters.
SMALL = zi1.Spec(
    seed=1,
    prefill=400,
    timed=5_000,
    target=400,
    messages_sha256="f0b26b9c5daae8d8a3ac0755c042aecf8efe1896d5323fa269f72b5029ef4c88",
    fills_sha256="0fc857ba08893a026042befe3384b5462ceee322c23d8a57dba53bc7e9dd195d",
)
OTHER_SEED = zi1.Spec(
    seed=2,
    prefill=400,
    timed=5_000,
    target=400,
    messages_sha256="2e6fc3c76e48761745d1b715d6c7b922c0b94132e4a812d57593868d74ccebfd",
    fills_sha256="5e8f4bb02f0fc67eda195a21f1ec865ea0bf9b3aac4b62887ed742aceb066f46",
)
# Five orders or none: sides run empty, which `zi1` itself never sees.
NEARLY_EMPTY = zi1.Spec(
    seed=3,
    prefill=0,
    timed=3_000,
    target=5,
    messages_sha256="f38f15e29584fdccfd382702518d6708522fe78400a25988d50800988e446894",
    fills_sha256="ba23809f92bdc00348392e70f3121e9ecbea509d37824516a65eab1ff3df93e4",
)
SPECS = [SMALL, OTHER_SEED, NEARLY_EMPTY]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MTSIM_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.golden
@pytest.mark.parametrize("spec", SPECS)
def test_streams_are_those_of_the_specification(spec):
    made = zi1.generate(spec)
    assert zi1.sha256(made.rows) == spec.messages_sha256
    assert zi1.sha256(made.fills) == spec.fills_sha256


@pytest.mark.slow
@pytest.mark.golden
def test_zi1_has_the_published_digests():
    made = zi1.generate(zi1.ZI1)
    assert (len(made.rows), len(made.fills)) == (2_010_000, 223_662)


def test_a_stream_with_another_digest_is_an_integrity_error():
    wrong = dataclasses.replace(SMALL, fills_sha256="0" * 64)
    with pytest.raises(IntegrityError, match="generated fills have SHA-256 0fc857ba"):
        zi1.generate(wrong)


@pytest.mark.parametrize("spec", SPECS)
def test_the_reference_engine_makes_the_fills_of_the_stream(spec):
    made = zi1.generate(spec)
    outcome = ReferenceBook().process(zi1.to_messages(made.rows))
    np.testing.assert_array_equal(zi1.to_fill_rows(outcome.fills), made.fills)
    assert not outcome.results["reject"].any()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("run", [1, 7, 10_000])
def test_the_plain_python_book_makes_the_fills_of_the_stream(spec, run):
    made, book, fills = zi1.generate(spec), PythonBook(), []
    for start in range(0, len(made.rows), run):
        fills += book.process(made.rows[start : start + run].tolist())
    np.testing.assert_array_equal(np.array(fills, zi1.FILL_ROW_DTYPE), made.fills)


def test_the_plain_python_book_ends_with_the_touch_of_the_reference():
    made, python, reference = zi1.generate(SMALL), PythonBook(), ReferenceBook()
    python.process(made.rows.tolist())
    reference.process(zi1.to_messages(made.rows))
    assert python.touch() == reference.touch()


def test_the_plain_python_book_trades_below_zero_at_the_makers_price():
    rows = [(zi1.ADD, 0, 0, -7, 5, 0), (zi1.ADD, 1, 0, -9, 2, 1), (zi1.ADD, 1, 0, -3, 4, 2)]
    book = PythonBook()
    assert book.process(rows) == [(1, 0, 1, -7, 2)]
    assert book.process([(zi1.ADD, 0, 0, 5, 4, 3)]) == [(3, 2, 3, -3, 4)]
    assert book.touch() == (-7, None)


def test_every_cancel_names_an_order_that_rests():
    made = zi1.generate(SMALL)
    results = ReferenceBook().process(zi1.to_messages(made.rows)).results
    cancels = results["kind"] == Kind.CANCEL
    assert cancels.any()
    np.testing.assert_array_equal(results["cancelled_lots"][cancels], made.rows["lots"][cancels])


def test_messages_keep_the_order_and_ids_start_where_they_are_told_to():
    rows = zi1.generate(SMALL).rows
    messages = zi1.to_messages(rows, first_id=100)
    assert messages["order_id"].min() == 100
    np.testing.assert_array_equal(messages["price_tick"], rows["price_tick"])


def test_a_stream_is_taken_from_the_cache_the_second_time(cache, monkeypatch):
    made = zi1.stream(SMALL)
    monkeypatch.setattr(zi1, "generate", None)  # To generate again would fail.
    again = zi1.stream(SMALL)
    for left, right in zip(made, again, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_damaged_cache_is_made_again(cache):
    made = zi1.stream(SMALL)
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        intact = path.read_bytes()
        for damaged in (
            b"",
            intact[: len(intact) // 2],
            intact[:-1] + bytes([intact[-1] ^ 1]),
            b"\x00" * len(intact),
        ):
            path.write_bytes(damaged)
            again = zi1.stream(SMALL)
            np.testing.assert_array_equal(again.fills, made.fills)
            assert path.read_bytes() == intact


def test_a_cache_that_cannot_be_written_does_not_stop_anybody(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MTSIM_CACHE_DIR", str(tmp_path / "file"))
    assert zi1.sha256(zi1.stream(SMALL).rows) == SMALL.messages_sha256


def test_the_cache_lies_where_the_platform_wants_it(monkeypatch, tmp_path):
    monkeypatch.delenv("MTSIM_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert zi1.cache_folder() == tmp_path / "mtsim"
    monkeypatch.setenv("MTSIM_CACHE_DIR", str(tmp_path / "own"))
    assert zi1.cache_folder() == tmp_path / "own"
