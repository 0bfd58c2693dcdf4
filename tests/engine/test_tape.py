"""A tape holds a run so that it can be had again, and its files lose or change nothing unseen."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.engine import tape as tape_module
from mtsim.engine.base import Outcome
from mtsim.engine.events import EventType, to_messages
from mtsim.engine.messages import FILL_DTYPE, MESSAGE_DTYPE
from mtsim.engine.reference import ReferenceBook
from mtsim.engine.rows import Rows
from mtsim.engine.tape import Tape, replay
from mtsim.engine.tape_files import TapeWriter, load, save
from mtsim.errors import IntegrityError, MissingError, TapeError
from tests.engine.streams import BUY, SELL, RandomStream, batch, cancel, limit

ROOT = Path(__file__).parents[2]
SEEDS = {"run": 7}
CONFIG = {"scenario": "calm", "fee_bp": 0.1}


def small_tape():
    """Two books, one of which trades, with a marker and a shock."""
    tape = Tape(seeds=SEEDS, config=CONFIG, books=2)
    first, second = ReferenceBook(), ReferenceBook()
    tape.mark(0, EventType.SESSION_START, book=1)
    messages = batch(limit(SELL, 101, 5, 1), limit(BUY, 101, 2, 2))
    tape.record(np.array([1, 2]), messages, first.process(messages))
    messages = batch(limit(SELL, 101, 5, 1))
    tape.record(1, messages, second.process(messages), book=1)
    tape.shock(3, "sweep", {"side": "sell", "levels": 3}, book=1)
    messages = batch(cancel(1))
    tape.record(4, messages, second.process(messages), book=1)
    tape.mark(5, EventType.SESSION_END, book=1)
    return tape


def tape_of_streams(seeds, n_messages, run):
    """One book a seed, `run` messages of each in turn."""
    tape = Tape(seeds=SEEDS, config=CONFIG, books=len(seeds))
    books = [ReferenceBook() for _ in seeds]
    streams = [RandomStream(seed).block(n_messages) for seed in seeds]
    for start in range(0, n_messages, run):
        for index, (book, stream) in enumerate(zip(books, streams, strict=True)):
            messages = stream[start : start + run]
            times_ns = np.arange(start, start + len(messages))
            tape.record(times_ns, messages, book.process(messages), book=index)
    return tape, books


def files_of(folder):
    return sorted(path for path in folder.iterdir() if path.is_file())


def assert_same(left, right):
    assert left.header() == right.header()
    assert left.shocks == right.shocks
    for name in ("steps", "results", "fills", "marks"):
        np.testing.assert_array_equal(left.table(name), right.table(name))


# The record


@given(sizes=st.lists(st.integers(0, 700), max_size=12))
def test_rows_only_grow_and_keep_what_they_hold(sizes):
    rows, expected = Rows(np.dtype("<i8")), []
    for size in sizes:
        added = list(range(len(expected), len(expected) + size))
        rows.extend(size)[:] = added
        expected += added
        assert rows.all().tolist() == expected


def test_what_is_on_the_tape_cannot_be_changed_through_a_view():
    tape = small_tape()
    with pytest.raises(ValueError, match="read-only"):
        tape.table("fills")["lots"] = 0


def test_a_stream_is_what_one_book_was_asked_and_answered():
    stream = small_tape().stream(1)
    assert stream.messages["order_id"].tolist() == [1, 1]
    assert stream.time_ns.tolist() == [1, 4]
    assert stream.marks["before"].tolist() == [0, 2]
    assert [(shock.name, shock.before) for shock in stream.shocks] == [("sweep", 1)]
    assert len(stream.fills) == 0
    assert small_tape().stream(0).fills["maker_id"].tolist() == [1]


@given(seed=st.integers(0, 2**32 - 1), run=st.integers(1, 90))
def test_streams_gives_every_book_as_stream_does(seed, run):
    tape, _ = tape_of_streams([seed, seed + 1, seed + 2], 90, run)
    for index, stream in enumerate(tape.streams()):
        assert stream.digest().hex() == tape.stream_hash(index)


def test_events_have_the_markers_in_their_places():
    rows = small_tape().events(1)
    assert rows["type"].tolist() == [
        EventType.SESSION_START,
        EventType.ADD,
        EventType.CANCEL,
        EventType.SESSION_END,
    ]
    assert rows["time_ns"].tolist() == [0, 1, 4, 5]
    assert set(rows["book"].tolist()) == {1}


@given(seed=st.integers(0, 2**32 - 1))
def test_the_events_of_a_tape_rebuild_its_book(seed):
    tape, (book,) = tape_of_streams([seed], 200, 64)
    again = ReferenceBook()
    again.process(to_messages(tape.events()))
    assert again.hash() == book.hash()


def test_an_outcome_that_is_not_of_these_messages_is_refused():
    messages = batch(limit(SELL, 101, 5, 1), limit(BUY, 101, 2, 2))
    outcome = ReferenceBook().process(messages)
    tape = Tape(seeds=SEEDS, config=CONFIG)
    no_fills = Outcome(outcome.results, np.zeros(0, FILL_DTYPE))
    for wrong_messages, wrong in ((messages[:1], outcome), (messages, no_fills)):
        with pytest.raises(TapeError, match="one result a message"):
            tape.record(0, wrong_messages, wrong)
    assert len(tape) == 0


@pytest.mark.parametrize(
    "time_ns", [1.5, float("nan"), np.zeros(2), np.arange(3), np.zeros((1, 2), np.int64), "1"]
)
def test_times_are_whole_nanoseconds_one_or_one_a_message(time_ns):
    messages = batch(cancel(8), cancel(9))
    tape, outcome = Tape(seeds=SEEDS, config=CONFIG), ReferenceBook().process(messages)
    with pytest.raises(TapeError, match="time_ns: one integer or 2 of them"):
        tape.record(time_ns, messages, outcome)
    with pytest.raises(TapeError, match="book: one integer or 2 of them"):
        tape.record(1, messages, outcome, book=time_ns)
    assert len(tape) == 0


def test_only_messages_are_recorded():
    messages = batch(cancel(8))
    outcome = ReferenceBook().process(messages)
    with pytest.raises(TapeError, match="messages are rows of"):
        Tape(seeds=SEEDS, config=CONFIG).record(1, outcome.results, outcome)


def test_time_never_goes_back_within_a_book():
    tape = small_tape()
    tape.check()
    messages = batch(cancel(9))
    tape.record(3, messages, ReferenceBook().process(messages), book=1)
    with pytest.raises(TapeError, match=r"steps\[4\]: time goes back to 3 ns in book 1"):
        tape.check()


def test_a_book_that_is_not_there_is_named():
    tape = small_tape()
    messages = batch(cancel(9))
    tape.record(9, messages, ReferenceBook().process(messages), book=2)
    with pytest.raises(TapeError, match=r"steps\[4\]: book 2, this tape has books 0 to 1"):
        tape.check()


def test_a_fill_of_another_message_is_named():
    tape, book = Tape(seeds=SEEDS, config=CONFIG), ReferenceBook()
    book.process(batch(limit(SELL, 101, 5, 1)))
    messages = batch(limit(BUY, 101, 2, 2))
    tape.record(0, messages, book.process(messages))
    with pytest.raises(TapeError, match=r"fills\[0\]: belongs to message 1"):
        tape.check()


def test_only_markers_can_be_marked():
    with pytest.raises(TapeError, match="ADD is not a marker"):
        small_tape().mark(9, EventType.ADD)


@pytest.mark.parametrize("value", [float("nan"), object(), b"bytes"])
def test_config_is_plain_json(value):
    with pytest.raises(TapeError, match="config: a tape holds JSON values only"):
        Tape(seeds=SEEDS, config={"key": value})


# Replay


@given(seed=st.integers(0, 2**32 - 1), run=st.integers(1, 200))
def test_a_replay_gives_the_same_books_in_runs_of_any_length(seed, run):
    recorded, books = tape_of_streams([seed, seed + 1], 150, 50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape_module, "_REPLAY_MESSAGES", run)
        replayed = replay(recorded, ReferenceBook)
    assert [book.hash() for book in replayed] == [book.hash() for book in books]


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 9))
def test_steps_of_many_books_are_recorded_and_replayed(seed, k):
    """Any number of messages for any of the books a step; then the same books one at a time."""
    from mtsim.engine.batch import Books

    draw = np.random.default_rng(seed)
    streams = [RandomStream(seed + index).block(60) for index in range(4)]
    done = np.zeros(4, np.int64)
    together, tape = Books(4), Tape(seeds=SEEDS, config=CONFIG, books=4)
    for time_ns in range(12):
        chosen = draw.permutation(4)[: draw.integers(1, 5)]
        counts = np.minimum(draw.integers(0, k + 1, len(chosen)), 60 - done[chosen])
        messages = np.zeros((len(chosen), k), MESSAGE_DTYPE)
        for row, (book, count) in enumerate(zip(chosen, counts, strict=True)):
            messages[row, :count] = streams[book][done[book] : done[book] + count]
        done[chosen] += counts
        step = together.step(messages, counts, chosen)
        tape.record_step(time_ns, messages, step, counts, chosen)
    tape.check()

    assert [book.hash() for book in replay(tape)] == [together.hash(book) for book in range(4)]
    for stream, played, n in zip(tape.streams(), streams, done, strict=True):
        np.testing.assert_array_equal(stream.messages, played[:n])


def test_a_full_step_needs_neither_counts_nor_books():
    from mtsim.engine.batch import Books

    messages = np.stack([RandomStream(seed).block(30) for seed in range(3)])
    tape = Tape(seeds=SEEDS, config=CONFIG, books=3)
    tape.record_step(np.arange(30), messages, Books(3).step(messages))
    assert [stream.time_ns.tolist() for stream in tape.streams()] == [list(range(30))] * 3
    replay(tape, ReferenceBook)


def test_a_tape_of_handles_is_replayed_with_handles():
    from mtsim.engine.book import Book

    book = Book(ids="handle")
    tape = Tape(seeds=SEEDS, config=CONFIG, ids="handle")
    adds = batch(*(limit(BUY, 100 - k % 7, 5, 0) for k in range(50)))
    outcome = book.process(adds)
    tape.record(0, adds, outcome)
    cancels = batch(*(cancel(handle) for handle in outcome.results["order_id"][::3].tolist()))
    tape.record(1, cancels, book.process(cancels))
    more = batch(*(limit(SELL, 98, 4, 0) for _ in range(20)))
    tape.record(2, more, book.process(more))

    (again,) = replay(tape)
    assert again.hash() == book.hash()
    events = to_messages(tape.events())
    reborn = Book(ids="handle")
    reborn.process(events)
    assert reborn.hash() == book.hash()


@pytest.mark.parametrize(
    ("table", "field", "row", "named"),
    [
        ("results", "filled_lots", 1, "book 0: result 1"),
        ("results", "bid_tick", 2, "book 1: result 0"),
        ("fills", "maker_open_lots", 0, "book 0: fill 0"),
        ("fills", "taker_owner", 0, "book 0: fill 0"),
    ],
)
def test_a_replay_names_the_first_row_that_differs(table, field, row, named):
    honest = small_tape()
    forged = Tape(seeds=SEEDS, config=CONFIG, books=2)
    for name in ("steps", "results", "fills", "marks"):
        rows = honest.table(name).copy()
        if name == table:
            rows[field][row] += 1
        forged.extend(name, rows)
    with pytest.raises(IntegrityError, match=named):
        replay(forged, ReferenceBook)


def test_a_replay_of_other_messages_is_not_the_tape():
    honest = small_tape()
    forged = Tape(seeds=SEEDS, config=CONFIG, books=2)
    for name in ("steps", "results", "fills", "marks"):
        rows = honest.table(name).copy()
        if name == "steps":
            rows["message"]["lots"][1] = 3
        forged.extend(name, rows)
    with pytest.raises(IntegrityError, match="book 0: result 1"):
        replay(forged, ReferenceBook)


# The hash


def test_equal_runs_have_equal_hashes():
    assert small_tape().hash() == small_tape().hash()


@given(seed=st.integers(0, 2**32 - 1), run=st.integers(1, 60))
def test_the_hash_does_not_depend_on_how_books_were_interleaved(seed, run):
    one_by_one, _ = tape_of_streams([seed, seed + 1], 60, 60)
    in_turns, _ = tape_of_streams([seed, seed + 1], 60, run)
    assert in_turns.hash() == one_by_one.hash()


def test_a_book_alone_has_the_stream_hash_it_has_among_others():
    many, _ = tape_of_streams([1, 2, 3], 80, 16)
    alone, _ = tape_of_streams([2], 80, 80)
    assert many.stream_hash(1) == alone.stream_hash(0)


def test_padding_does_not_count():
    honest, dirty = small_tape(), Tape(seeds=SEEDS, config=CONFIG, books=2)
    for name in ("steps", "results", "fills", "marks"):
        rows = honest.table(name).copy()
        if "padding" in (rows.dtype.names or ()):
            rows["padding"] = 77
        dirty.extend(name, rows)
    dirty.shocks.extend(honest.shocks)
    assert dirty.hash() == honest.hash()


def _change(tape, name, field):
    rows = tape.table(name).copy()
    target = rows["message"] if field in MESSAGE_DTYPE.names and name == "steps" else rows
    target[field][-1] ^= 1
    return {name: rows}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("steps", "time_ns"),
        ("steps", "tif"),
        ("steps", "stp"),
        ("steps", "flags"),
        ("steps", "display_lots"),
        ("results", "reject"),
        ("results", "ask_tick"),
        ("fills", "maker_id"),
        ("fills", "kind"),
        ("marks", "type"),
        ("marks", "time_ns"),
    ],
)
def test_every_field_counts_in_the_hash(name, field):
    honest, changed = small_tape(), Tape(seeds=SEEDS, config=CONFIG, books=2)
    different = _change(honest, name, field)
    for table in ("steps", "results", "fills", "marks"):
        changed.extend(table, different.get(table, honest.table(table)))
    changed.shocks.extend(honest.shocks)
    assert changed.hash() != honest.hash()


def test_seeds_config_and_shocks_count_in_the_hash():
    empty = Tape(seeds=SEEDS, config=CONFIG)
    shocked = Tape(seeds=SEEDS, config=CONFIG)
    shocked.shock(0, "sweep", {"levels": 3})
    others = [
        Tape(seeds={"run": 8}, config=CONFIG),
        Tape(seeds=SEEDS, config={**CONFIG, "fee_bp": 0.2}),
        Tape(seeds=SEEDS, config=CONFIG, books=2),
        Tape(seeds=SEEDS, config=CONFIG, ids="handle"),
        shocked,
    ]
    assert len({tape.hash() for tape in [empty, *others]}) == 6


@pytest.mark.golden
def test_the_hash_of_the_small_tape_does_not_drift():
    """It is a promise about stored tapes: a change needs a new tape version."""
    assert small_tape().hash() == "a1ea77b04ccc51e5ed0010382dc5022f4be116660d87b6d2ebd146cee157b161"


# Files


def test_a_saved_tape_is_the_same_tape(tmp_path):
    tape, _ = tape_of_streams([1, 2, 3], 300, 40)
    save(tape, tmp_path / "tape")
    loaded = load(tmp_path / "tape")
    assert_same(loaded, tape)
    assert loaded.hash() == tape.hash()
    replay(loaded, ReferenceBook)


def test_marks_and_shocks_are_saved(tmp_path):
    save(small_tape(), tmp_path / "tape")
    assert_same(load(tmp_path / "tape"), small_tape())


def test_an_empty_tape_can_be_saved(tmp_path):
    save(Tape(seeds=SEEDS, config=CONFIG), tmp_path / "tape")
    assert len(load(tmp_path / "tape")) == 0


def test_segments_make_no_difference_to_tape_or_hash(tmp_path):
    tape = Tape(seeds=SEEDS, config=CONFIG)
    writer, book, stream = TapeWriter(tmp_path / "long", tape), ReferenceBook(), RandomStream(5)
    for k in range(7):
        messages = stream.block(50)
        tape.record(k, messages, book.process(messages))
        writer.flush()
    tape.shock(9, "halt", {})
    writer.commit()
    save(tape, tmp_path / "short")
    long, short = load(tmp_path / "long"), load(tmp_path / "short")
    assert len(files_of(tmp_path / "long")) > len(files_of(tmp_path / "short"))
    assert_same(long, short)
    assert long.hash() == short.hash() == tape.hash()


def test_the_manifest_says_what_is_in_the_folder(tmp_path):
    save(small_tape(), tmp_path / "tape")
    manifest = json.loads((tmp_path / "tape" / "manifest.json").read_text())["content"]
    assert manifest["seeds"] == SEEDS
    assert manifest["config"] == CONFIG
    assert manifest["counts"] == {"steps": 4, "results": 4, "fills": 1, "marks": 2, "shocks": 1}
    assert manifest["schemas"] == {"steps": 1, "results": 1, "fills": 1, "marks": 1}
    assert manifest["tape_sha256"] == small_tape().hash()
    names = {path.name for path in files_of(tmp_path / "tape")}
    assert manifest["sha256"].keys() == names - {"manifest.json"}


def test_every_table_is_plain_parquet_with_page_checksums(tmp_path):
    save(small_tape(), tmp_path / "tape")
    for path in (tmp_path / "tape").glob("*.parquet"):
        pq.read_table(path, page_checksum_verification=True)
        content = bytearray(path.read_bytes())
        content[8 + 20] ^= 1  # Inside the first page, after the magic number and its header.
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"(?i)checksum|corrupt|deserialize|invalid"):
            pq.read_table(path, page_checksum_verification=True)


def test_no_flipped_bit_goes_unseen(tmp_path):
    folder = tmp_path / "tape"
    save(small_tape(), folder)
    draw = random.Random(1)
    for path in files_of(folder):
        intact = path.read_bytes()
        for _ in range(300):
            flipped = bytearray(intact)
            flipped[draw.randrange(len(intact))] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(IntegrityError, match=str(folder)):
                load(folder)
        path.write_bytes(intact)
    load(folder)


@pytest.mark.slow
def test_no_bit_of_a_small_tape_can_flip_unseen(tmp_path):
    """Every bit of every file, one at a time: 2,000 flips are the rule, this is all there are."""
    folder = tmp_path / "tape"
    save(small_tape(), folder)
    flips = 0
    for path in files_of(folder):
        intact = path.read_bytes()
        for bit in range(8 * len(intact)):
            flipped = bytearray(intact)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(IntegrityError, match=str(folder)):
                load(folder)
            flips += 1
        path.write_bytes(intact)
    assert flips > 100_000


def test_a_changed_table_is_named(tmp_path):
    save(small_tape(), tmp_path / "tape")
    for path in (tmp_path / "tape").glob("*.parquet"):
        intact = path.read_bytes()
        path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=path.name):
            load(tmp_path / "tape")
        path.write_bytes(intact)


def test_a_truncated_file_is_named(tmp_path):
    save(small_tape(), tmp_path / "tape")
    for path in files_of(tmp_path / "tape"):
        intact = path.read_bytes()
        for length in (0, 1, len(intact) // 2, len(intact) - 1):
            path.write_bytes(intact[:length])
            with pytest.raises(IntegrityError, match=path.name):
                load(tmp_path / "tape")
        path.write_bytes(intact)


def test_a_missing_file_is_named(tmp_path):
    save(small_tape(), tmp_path / "tape")
    for path in files_of(tmp_path / "tape"):
        intact = path.read_bytes()
        path.unlink()
        with pytest.raises(IntegrityError, match=path.name):
            load(tmp_path / "tape")
        path.write_bytes(intact)


def test_a_file_of_another_tape_is_named(tmp_path):
    save(small_tape(), tmp_path / "tape")
    save(tape_of_streams([4, 5], 90, 90)[0], tmp_path / "other")
    for path in files_of(tmp_path / "tape"):
        twin = tmp_path / "other" / path.name
        if twin.exists() and twin.read_bytes() != path.read_bytes():
            intact = path.read_bytes()
            path.write_bytes(twin.read_bytes())
            with pytest.raises(IntegrityError, match=path.name):
                load(tmp_path / "tape")
            path.write_bytes(intact)


def test_a_folder_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_an_occupied_folder_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TapeError, match=r"not empty \(it holds notes.txt\)"):
        save(small_tape(), tmp_path)
    assert files_of(tmp_path) == [tmp_path / "notes.txt"]


# Runs that do not finish


def unfinished(folder):
    """A writer that has acknowledged one segment of the small tape's messages."""
    tape = small_tape()
    writer = TapeWriter(folder, tape)
    writer.flush()
    return writer


def test_without_a_manifest_there_is_no_run_but_what_was_acknowledged_can_be_had(tmp_path):
    unfinished(tmp_path / "tape")
    with pytest.raises(IntegrityError, match=r"manifest.json: missing"):
        load(tmp_path / "tape")
    assert_same(load(tmp_path / "tape", recover=True), small_tape())


def test_a_torn_tail_is_left_out(tmp_path):
    unfinished(tmp_path / "tape")
    (tmp_path / "tape" / "000001-steps.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "tape" / "000001.json.part").write_bytes(b"{")
    assert_same(load(tmp_path / "tape", recover=True), small_tape())


def test_recovery_never_leaves_out_what_was_acknowledged(tmp_path):
    writer = unfinished(tmp_path / "tape")
    writer.tape.shock(9, "halt", {})
    writer.flush()
    for path in files_of(tmp_path / "tape"):
        if path.name != "000001.json":  # Without the last acknowledgement there was none.
            intact = path.read_bytes()
            path.unlink()
            with pytest.raises(IntegrityError, match=path.name):
                load(tmp_path / "tape", recover=True)
            path.write_bytes(intact)


def test_segments_of_two_tapes_are_not_one(tmp_path):
    """Each file is intact; only together they are wrong."""
    unfinished(tmp_path / "tape")
    other = Tape(seeds={"run": 8}, config=CONFIG, books=2)
    TapeWriter(tmp_path / "other", other)
    header = (tmp_path / "other" / "header.json").read_bytes()
    (tmp_path / "tape" / "header.json").write_bytes(header)
    with pytest.raises(IntegrityError, match=r"000000\.json: continues another tape"):
        load(tmp_path / "tape", recover=True)


def test_an_unfinished_tape_is_resumed_and_ends_as_if_nothing_had_happened(tmp_path):
    tape, _ = tape_of_streams([3], 200, 200)
    steps, results, fills = (tape.table(name) for name in ("steps", "results", "fills"))
    n_fills = int(results["n_fills"][:120].sum())
    begun = Tape(seeds=SEEDS, config=CONFIG)
    first = TapeWriter(tmp_path / "tape", begun)
    begun.record(
        steps["time_ns"][:120], steps["message"][:120], Outcome(results[:120], fills[:n_fills])
    )
    first.flush()
    (tmp_path / "tape" / "000001-fills.parquet").write_bytes(b"torn")

    resumed = TapeWriter.resume(tmp_path / "tape")
    assert len(resumed.tape) == 120
    resumed.tape.record(
        steps["time_ns"][120:], steps["message"][120:], Outcome(results[120:], fills[n_fills:])
    )
    resumed.commit()

    assert load(tmp_path / "tape").hash() == tape.hash()


def test_resuming_deletes_nothing_of_anybody_else(tmp_path):
    unfinished(tmp_path / "tape")
    (tmp_path / "tape" / "notes.txt").write_text("mine")
    TapeWriter.resume(tmp_path / "tape")
    assert (tmp_path / "tape" / "notes.txt").read_text() == "mine"


def test_a_finished_tape_takes_no_more(tmp_path):
    writer = unfinished(tmp_path / "tape")
    writer.commit()
    with pytest.raises(TapeError, match="can take no more"):
        writer.flush()
    with pytest.raises(TapeError, match="can take no more"):
        TapeWriter.resume(tmp_path / "tape")


class FullDisk:
    """A disk that has room for a number of synced files, then none until it is given more."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor):
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        self._fsync(descriptor)


@pytest.mark.parametrize("room", range(2, 26))
def test_a_full_disk_costs_nothing_that_was_acknowledged(tmp_path, monkeypatch, room):
    """Wherever the disk fills up: a clear error, the acknowledged part intact, and a retry
    works."""
    disk = FullDisk(monkeypatch, room)
    tape, folder = small_tape(), tmp_path / "tape"
    writer = TapeWriter(folder, tape)
    acknowledged = 0

    def go_on_until_the_disk_is_full():
        nonlocal acknowledged
        while True:
            writer.flush()
            acknowledged = len(tape)
            messages = batch(cancel(50))
            tape.record(10, messages, ReferenceBook().process(messages))

    with pytest.raises(TapeError, match="No space left on device"):
        go_on_until_the_disk_is_full()

    assert not list(folder.glob("*.part")), "the room of a file that failed was not given back"
    with pytest.raises(IntegrityError, match=r"manifest.json: missing"):
        load(folder)
    assert len(load(folder, recover=True)) == acknowledged

    disk.room = 1_000
    writer.commit()
    assert_same(load(folder), tape)


def test_a_disk_that_fills_up_at_the_very_last_leaves_no_finished_run(tmp_path, monkeypatch):
    writer = unfinished(tmp_path / "tape")
    FullDisk(monkeypatch, 1)
    with pytest.raises(TapeError, match=r"manifest.json: could not be written"):
        writer.commit()
    assert not (tmp_path / "tape" / "manifest.json").exists()


_ENDLESS = """
import sys
from mtsim.engine.messages import Kind
from mtsim.engine.reference import ReferenceBook
from mtsim.engine.tape import Tape
from mtsim.engine.tape_files import TapeWriter
from tests.engine.streams import RandomStream

tape, book, stream = Tape(seeds={}, config={}), ReferenceBook(), RandomStream(1)
writer = TapeWriter(sys.argv[1], tape)
while True:
    messages = stream.block(20)
    tape.record(len(tape), messages, book.process(messages))
    writer.flush()
    print(len(tape), flush=True)
"""


@pytest.mark.parametrize("lines", [1, 4, 17])
def test_a_killed_run_keeps_what_it_had_acknowledged(tmp_path, lines):
    """Killed at no chosen moment, so the tail is torn wherever it happens to be."""
    command = [sys.executable, "-c", _ENDLESS, str(tmp_path / "tape")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout is not None
        for _ in range(lines):
            run.stdout.readline()
        run.send_signal(signal.SIGKILL)
        said = [int(line) for line in run.stdout.read().split("\n")[:-1]]
    acknowledged = said[-1] if said else 20 * lines

    tape = load(tmp_path / "tape", recover=True)
    assert len(tape) >= acknowledged
    replay(tape, ReferenceBook)
    writer = TapeWriter.resume(tmp_path / "tape")
    writer.commit()
    assert load(tmp_path / "tape").hash() == tape.hash()
