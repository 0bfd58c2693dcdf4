"""A source into a store: what arrives, what is passed over, what an interruption leaves behind."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mtsim.engine.book import Book
from mtsim.engine.events import EventType, Origin, to_messages
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.errors import DataError, IntegrityError, UsageError
from mtsim.model import execution, ingest
from mtsim.model.execution import DEPTH_MESSAGES, FIRST_DEPTHS
from mtsim.model.ingest import import_files, import_session, key_of
from mtsim.model.sources.base import BATCH_ROWS, FEED_DTYPE, Batch, Counts, Options, Session
from mtsim.model.sources.files import open_binary, share_read
from mtsim.model.store import MANIFEST, Store
from tests.model.generated_feed import made_up, made_up_session, open_sessions

OPTIONS = Options()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def file(tmp_path) -> Path:
    """Three sessions."""
    path = tmp_path / "days.txt"
    path.write_text("2020-01-02 1 300\n2020-01-03 2 200\n2020-01-06 3 250\n")
    return path


def run(store: Store, *files: Path, **more):
    return list(import_files(open_sessions, tuple(map(str, files)), OPTIONS, store, **more))


def events_of(stored) -> np.ndarray:
    return np.concatenate(list(stored.events()))


def test_every_message_is_an_event_between_the_session_s_markers(tmp_path, store):
    source = made_up(tmp_path / "f", n=500)
    rows = events_of(import_session(source, store))
    assert rows["type"][0] == EventType.SESSION_START
    assert rows["type"][-1] == EventType.SESSION_END
    assert (np.diff(rows["time_ns"]) >= 0).all()
    executed = rows[1:-1]
    assert len(executed) == len(source.feed)
    assert np.array_equal(executed["time_ns"], source.feed["time_ns"])
    assert np.array_equal(executed["origin"], source.feed["origin"])


def test_the_events_make_the_book_of_the_feed_again(tmp_path, store):
    source = made_up(tmp_path / "f", n=500)
    stored = import_session(source, store)
    first, again = Book(), Book()
    first.process(np.ascontiguousarray(source.feed["message"]))
    again.process(to_messages(events_of(stored)))
    assert again.hash() == first.hash() == stored.manifest["digests"]["book"]


def test_the_manifest_says_what_the_source_said(tmp_path, store):
    source = made_up(tmp_path / "f", n=300, every=5)
    source.counts.dropped["hidden"] = 7
    source.counts.read = 7
    source.counts.repaired["level_entered"] = 2
    source.counts.noticed["id missing"] = 3
    manifest = import_session(source, store).manifest
    assert manifest["counts"] == {
        "read": 387,
        "used": 380,
        "dropped": {"hidden": 7},
        "repaired": {"level_entered": 2},
        "noticed": {"id missing": 3},
    }
    assert manifest["instrument"] == {
        "symbol": "MADE",
        "venue": "UP",
        "tick_size": "0.01",
        "lot_size": "1",
        "currency": "USD",
    }
    assert manifest["session"]["assumptions"] == ["Nothing of this ever happened."]
    assert [entry["name"] for entry in manifest["source"]["files"]] == ["f"]
    assert manifest["events"]["executed"] == 380
    assert manifest["events"]["by_origin"] == {"OBSERVED": 300, "OPENING": 80}
    agreement = manifest["agreement"]
    assert agreement["snapshots"] == agreement["touch_equal"] == 60
    assert agreement["compared"] == agreement["equal"] == 60


def test_a_record_that_is_neither_used_nor_dropped_is_our_mistake(tmp_path, store):
    source = made_up(tmp_path / "f", n=300)
    source.counts.read = 1
    with pytest.raises(AssertionError, match="used or dropped"):
        import_session(source, store)
    assert store.sessions() == []


def test_a_manifest_knows_no_place_and_no_time(tmp_path, file):
    """The same files, in another folder, at another time: the same store, bit by bit."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / file.name).write_bytes(file.read_bytes())
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    run(one, file)
    time.sleep(0.01)
    run(other, elsewhere / file.name)
    assert one.hash() == other.hash()
    assert not [
        path for path in one.folder.rglob(MANIFEST) if str(tmp_path).encode() in path.read_bytes()
    ]


def test_how_a_source_cuts_its_batches_changes_nothing(tmp_path):
    hashes = set()
    for rows in (100, 1000, 10_000):
        store = Store(tmp_path / str(rows))
        source = replace(made_up(tmp_path / "f", n=900), batch_rows=rows)
        import_session(source, store)
        hashes.add(store.hash())
    assert len(hashes) == 1


def test_snapshots_after_the_first_are_compared_at_a_distance_unless_all_are_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(execution, "FIRST_DEPTHS", 100)
    some = import_session(made_up(tmp_path / "f", n=2000), Store(tmp_path / "a"))
    every = import_session(
        made_up(tmp_path / "f", n=2000), Store(tmp_path / "b"), all_snapshots=True
    )
    assert every.manifest["agreement"]["compared"] == 2000
    # One of the hundred stands at the beginning of a stretch as well.
    assert some.manifest["agreement"]["compared"] == 100 + 2080 // DEPTH_MESSAGES
    assert some.manifest["agreement"]["snapshots"] == 2000
    assert FIRST_DEPTHS == 1000


def test_a_gap_is_marked_where_the_book_is_put_in_place_anew(tmp_path, store):
    def gap(feed, truth):
        feed["origin"][200:210] = Origin.OPENING
        feed["time_ns"][200:] += 10**9
        return feed, truth

    source = made_up(tmp_path / "f", n=400, change=gap)
    stored = import_session(source, store)
    rows = events_of(stored)
    (at,) = np.flatnonzero(rows["type"] == EventType.GAP)
    assert at == 201
    assert rows["time_ns"][at] == source.feed["time_ns"][200]
    assert stored.manifest["gaps"] == [
        {
            "after_events": 200,
            "from_ns": int(source.feed["time_ns"][199]),
            "to_ns": int(source.feed["time_ns"][200]),
        }
    ]


def test_a_source_without_a_message_is_no_session(tmp_path, store):
    def empty(feed, truth):
        return feed[:0], None

    with pytest.raises(DataError, match="not one message"):
        import_session(made_up(tmp_path / "f", n=10, change=empty), store)
    assert store.sessions() == []


def test_progress_is_told_batch_by_batch(tmp_path, store):
    seen = []
    source = made_up(tmp_path / "f", n=2500)
    import_session(source, store, progress=lambda session, counts: seen.append(counts.read))
    assert seen[-1] == 2580
    assert sorted(set(seen)) == [1000, 2000, 2580]


def test_how_far_files_are_read_is_known_while_they_are(tmp_path):
    paths = [str(tmp_path / name) for name in ("a", "b", "c")]
    for path in paths:
        Path(path).write_bytes(bytes(3 << 20))
    assert share_read(paths) is None
    with open_binary(paths[1]) as stream:
        assert share_read(paths) == pytest.approx(1 / 3, abs=0.01)
        stream.read()
        assert share_read(paths) == pytest.approx(2 / 3)
    assert share_read(paths) is None


# What is in the store already ---------------------------------------------------------------------


def test_importing_again_passes_over_what_is_there(store, file):
    assert [one.status for one in run(store, file)] == ["imported"] * 3
    before = store.hash()
    assert [one.status for one in run(store, file)] == ["present"] * 3
    assert store.hash() == before


def test_only_what_is_missing_is_imported(store, file):
    done = run(store, file)
    whole = store.hash()
    for path in done[1].stored.folder.iterdir():
        path.unlink()
    assert [one.status for one in run(store, file)] == ["present", "imported", "present"]
    assert store.hash() == whole


def test_a_file_is_known_by_its_content_not_by_its_name(store, file, tmp_path):
    run(store, file)
    copy = tmp_path / "copy.txt"
    copy.write_bytes(file.read_bytes())
    assert {one.status for one in run(store, copy)} == {"present"}


def test_another_importer_makes_another_session(store, file, monkeypatch):
    run(store, file)
    monkeypatch.setattr(ingest, "IMPORTER", ingest.IMPORTER + 1)
    assert {one.status for one in run(store, file)} == {"refused"}
    assert {one.status for one in run(store, file, replace=True)} == {"imported"}


def test_other_files_for_a_session_are_an_error_that_names_both(store, file, tmp_path):
    run(store, file)
    before = store.hash()
    other = tmp_path / "other.txt"
    other.write_text("2020-01-03 9 100\n2020-01-07 9 100\n")
    refused, imported = run(store, other)
    assert isinstance(refused.error, UsageError)
    assert refused.stored is None
    said = str(refused.error)
    assert "days.txt" in said
    assert "other.txt" in said
    assert "UP MADE 2020-01-03" in said
    assert "--replace" in said
    assert imported.status == "imported"
    imported_folder = imported.stored.folder
    for path in imported_folder.iterdir():
        path.unlink()
    assert store.hash() == before


def test_a_session_is_replaced_when_that_is_said(store, file, tmp_path):
    run(store, file)
    other = tmp_path / "other.txt"
    other.write_text("2020-01-03 9 100\n")
    (one,) = run(store, other, replace=True)
    assert one.status == "imported"
    (found,) = [s for s in store.sessions() if s.key.date == date(2020, 1, 3)]
    assert found.manifest["events"]["executed"] == 180
    assert len(list(found.folder.iterdir())) == 3


def test_a_damaged_session_is_an_error_and_can_be_replaced(store, file):
    done = run(store, file)
    (done[0].stored.folder / MANIFEST).write_text("{}")
    with pytest.raises(IntegrityError, match=MANIFEST):
        run(store, file)
    assert run(store, file, replace=True)[0].status == "imported"


def test_a_file_that_changes_while_it_is_read_is_refused(store, file):
    sources = open_sessions((str(file),), OPTIONS)
    source = next(sources)
    batches = source.batches

    def writing() -> Iterator[Batch]:
        yield from batches()
        file.write_text("something else\n")

    source.batches = writing  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DataError, match="changed while it was read"):
        import_session(source, store)
    assert store.sessions() == []


def test_one_bad_session_does_not_keep_the_others_out(store, file):
    def opening(files: tuple[str, ...], options: Options):
        for k, source in enumerate(open_sessions(files, options)):
            if k == 1:
                source.truth = source.truth._replace(tick=source.truth.tick[:, ::-1])
            yield source

    done = list(import_files(opening, (str(file),), OPTIONS, store))
    assert [one.status for one in done] == ["imported", "refused", "imported"]
    assert isinstance(done[1].error, DataError)
    assert len(store.sessions()) == 2


def test_what_a_source_cannot_read_ends_the_import_and_leaves_what_was_done(store, file):
    def opening(files: tuple[str, ...], options: Options):
        first, second, _ = open_sessions(files, options)
        yield first

        def breaking() -> Iterator[Batch]:
            yield Batch(second.feed[:100])
            raise DataError(files[0], 101, "a row that is none")

        second.batches = breaking
        yield second

    with pytest.raises(DataError, match="a row that is none"):
        list(import_files(opening, (str(file),), OPTIONS, store))
    assert [session.key.date for session in store.sessions()] == [date(2020, 1, 2)]
    assert store.unfinished() == []


# Kill it ------------------------------------------------------------------------------------------

_PROGRAM = """
import sys
from mtsim.model.ingest import import_files
from mtsim.model.sources.base import Options
from mtsim.model.store import Store
from tests.model.generated_feed import open_sessions
print("go", flush=True)
for one in import_files(open_sessions, (sys.argv[1],), Options(), Store(sys.argv[2])):
    print(one.status, flush=True)
"""


def kill_at(file: Path, store: Store, after_s: float) -> bool:
    """Import in a process of its own, killed after so many seconds; whether that cut it short."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(file), str(store.folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    time.sleep(after_s)
    process.kill()
    process.stdout.close()
    return process.wait() == -9


def killed_and_rerun(tmp_path: Path, file: Path, kills: int) -> None:
    whole = Store(tmp_path / "whole")
    start = time.monotonic()
    run(whole, file)
    seconds = time.monotonic() - start
    draw = random.Random(5)
    cut = 0
    for n in range(kills):
        store = Store(tmp_path / f"store{n}")
        cut += kill_at(file, store, draw.uniform(0, seconds))
        if store.folder.exists():
            finished = [session.key for session in store.sessions()]
            assert finished == [session.key for session in whole.sessions()][: len(finished)]
        run(store, file)
        assert store.hash() == whole.hash()
        assert store.unfinished() == []
    assert cut


def test_a_killed_import_is_finished_by_running_it_again(tmp_path, file):
    killed_and_rerun(tmp_path, file, 3)


@pytest.mark.slow
def test_kills_at_many_moments(tmp_path, file):
    killed_and_rerun(tmp_path, file, 20)


# Large feeds --------------------------------------------------------------------------------------


@dataclass
class Endless:
    """Rows without end, made batch by batch: adds, cancels, and an aggressor now and then."""

    session: Session
    rows: int
    counts: Counts = field(default_factory=Counts)

    def batches(self) -> Iterator[Batch]:
        rng = np.random.default_rng(1)
        for start in range(0, self.rows, BATCH_ROWS):
            n = min(BATCH_ROWS, self.rows - start)
            feed = np.zeros(n, FEED_DTYPE)
            feed["row"] = np.arange(start, start + n) + 1
            feed["time_ns"] = feed["row"] * 400_000
            message = feed["message"]
            message["side"] = rng.integers(0, 2, n)
            away = rng.integers(1, 40, n)
            message["price_tick"] = 10_000 + np.where(message["side"] == 0, -away, away)
            message["lots"] = rng.integers(1, 200, n)
            message["order_id"] = feed["row"]
            # Every second row cancels the order of the row before; each hundredth pair trades.
            message["kind"][1::2] = Kind.CANCEL
            message["order_id"][1::2] = message["order_id"][: n - n % 2 : 2][: len(message[1::2])]
            takes = slice(199, n, 200)
            message["kind"][takes] = Kind.LIMIT
            message["tif"][takes] = TimeInForce.IOC
            message["order_id"][takes] = feed["row"][takes]
            makers = slice(198, n - n % 2, 200)
            message["side"][takes] = 1 - message["side"][makers]
            message["price_tick"][takes] = message["price_tick"][makers]
            message["lots"][takes] = 1
            self.counts.read += n
            self.counts.used += n
            yield Batch(feed)


@pytest.mark.slow
def test_fifty_million_rows_take_less_than_a_gigabyte(tmp_path):
    file = tmp_path / "endless"
    file.write_text("")
    program = f"""
import resource
from dataclasses import replace
from mtsim.model.ingest import import_session
from mtsim.model.store import Store
from tests.model.generated_feed import made_up_session
from tests.model.test_ingest import Endless
session = replace(made_up_session(({str(file)!r},)), truth_levels=0)
stored = import_session(Endless(session, 50_000_000), Store({str(tmp_path / "store")!r}))
assert stored.manifest["events"]["executed"] == 50_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 10**9


def test_a_large_feed_is_cut_into_parts(tmp_path, store):
    file = tmp_path / "endless"
    file.write_text("")
    session = replace(made_up_session((str(file),)), truth_levels=0)
    stored = import_session(Endless(session, 1_200_000), store)
    assert [part["rows"] for part in stored.manifest["parts"]] == [524_288, 524_288, 151_426]
    assert stored.manifest["events"]["rejects"] == {}


def test_a_session_is_known_by_venue_symbol_and_date(tmp_path):
    said = made_up_session(("f",), Options("S", date(2021, 2, 3), Decimal(1), Decimal(1), "V"))
    assert str(key_of(said)) == "V S 2021-02-03"


def test_a_feed_that_does_not_say_its_venue_has_a_place_too(tmp_path, store):
    source = made_up(tmp_path / "f", n=100)
    nowhere = replace(source.session.instrument, venue="")
    stored = import_session(
        replace(source, session=replace(source.session, instrument=nowhere)), store
    )
    assert str(stored.key) == "unknown MADE 2020-01-02"
    assert store.find(stored.key) is not None
