"""The session store: what is in it is whole, what is not whole is not in it."""

import errno
import json
import os
import subprocess
import sys
from datetime import date

import numpy as np
import pytest

from mtsim.engine.events import EVENT_DTYPE
from mtsim.errors import IntegrityError, MissingError, UsageError
from mtsim.model.store import (
    MANIFEST,
    PART_ROWS,
    Key,
    Snapshots,
    Store,
    StoreError,
    open_session,
)

KEY = Key("VENUE", "SYM", date(2020, 1, 2))


def rows(n: int, start: int = 0) -> np.ndarray:
    events = np.zeros(n, EVENT_DTYPE)
    events["time_ns"] = np.arange(start, start + n)
    events["order_id"] = events["time_ns"] + 1
    return events


def manifest(key: Key = KEY, **more: object) -> dict:
    return {
        "instrument": {"venue": key.venue, "symbol": key.symbol},
        "session": {"date": key.date.isoformat()},
        **more,
    }


def write(store: Store, key: Key = KEY, n: int = 10, **more: object):
    with store.writer(key) as writer:
        writer.append(rows(n))
        return writer.commit(manifest(key, **more))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_what_is_written_is_read_back_part_by_part(store):
    n = PART_ROWS + 5
    with store.writer(KEY) as writer:
        for start in range(0, n, 100_000):
            writer.append(rows(min(100_000, n - start), start))
        writer.commit(manifest(note="kept"))

    (session,) = store.sessions()
    parts = list(session.events())
    assert [len(part) for part in parts] == [PART_ROWS, 5]
    assert np.concatenate(parts).tobytes() == rows(n).tobytes()
    assert session.key == KEY
    assert session.manifest["note"] == "kept"
    times = [(part["first_ns"], part["last_ns"]) for part in session.manifest["parts"]]
    assert times == [(0, PART_ROWS - 1), (PART_ROWS, n - 1)]


def test_where_parts_end_does_not_depend_on_how_rows_came(store, tmp_path):
    write(store, n=30_000)
    other = Store(tmp_path / "other")
    with other.writer(KEY) as writer:
        for start in range(0, 30_000, 7_000):
            writer.append(rows(min(7_000, 30_000 - start), start))
        writer.commit(manifest())
    assert other.hash() == store.hash()


def test_snapshots_are_kept_level_by_level(store):
    tick = np.arange(3 * 2 * 4, dtype=np.int32).reshape(3, 2, 4)
    kept = Snapshots(np.array([1, 5, 9]), np.array([7, 8, 9]), tick, tick.astype(np.int64) * 10)
    with store.writer(KEY) as writer:
        writer.append(rows(10))
        session = writer.commit(manifest(), kept)
    for found, expected in zip(session.snapshots(), kept, strict=True):
        assert np.array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_a_session_without_snapshots_has_none(store):
    assert len(write(store).snapshots().after) == 0


def test_nothing_is_there_before_the_commit_nor_after_an_error(store):
    def fail_after_a_part():
        with store.writer(KEY) as writer:
            writer.append(rows(PART_ROWS + 1))
            assert any(name.endswith(".parquet") for name in files(store))
            assert store.find(KEY) is None
            assert store.sessions() == []
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_part()
    assert files(store) == []
    assert list(store.folder.iterdir()) == []


def test_what_a_killed_process_left_is_no_session_and_goes_with_the_next_import(store):
    program = (
        "import sys\nfrom tests.model.test_store import *\n"
        "writer = Store(sys.argv[1]).writer(KEY).__enter__()\n"
        "writer.append(rows(PART_ROWS + 1))\nos.kill(os.getpid(), 9)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, store.folder], check=False)
    assert result.returncode == -9
    assert files(store)
    assert store.sessions() == []
    assert store.unfinished() == [store.folder / KEY.folder()]

    write(store)
    assert store.unfinished() == []
    assert len(files(store)) == 2


def test_a_replaced_session_is_the_old_one_until_the_commit(store):
    old = write(store, n=10)
    with store.writer(KEY) as writer:
        writer.append(rows(PART_ROWS + 20))
        assert store.find(KEY).manifest == old.manifest
        assert sum(map(len, store.find(KEY).events())) == 10
        writer.commit(manifest())
    (session,) = store.sessions()
    assert sum(map(len, session.events())) == PART_ROWS + 20
    assert len(files(store)) == 3


def test_a_replacement_that_fails_costs_the_old_session_nothing(store):
    write(store, n=10)
    before = store.hash()

    def fail_after_a_part():
        with store.writer(KEY) as writer:
            writer.append(rows(PART_ROWS + 10))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_part()
    assert store.hash() == before
    assert sum(map(len, store.sessions()[0].events())) == 10
    assert len(files(store)) == 2


class FullDisk:
    """A disk that has room for a number of synced files, then none."""

    def __init__(self, monkeypatch, room: int):
        self.room, self._fsync = room, os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        self._fsync(descriptor)


@pytest.mark.parametrize("room", range(8))
def test_a_full_disk_is_a_clear_error_and_leaves_the_store_as_it_was(store, monkeypatch, room):
    write(store, Key("A", "B", date(2020, 1, 1)))
    before = store.hash()
    with monkeypatch.context() as patched:
        FullDisk(patched, room)
        with pytest.raises(StoreError, match="No space left on device"):
            write(store, n=PART_ROWS + 1)
    assert store.hash() == before
    assert len(store.sessions()) == 1
    assert store.unfinished() == []


def test_a_session_whose_last_sync_fails_is_whole(store, monkeypatch):
    """Its manifest has its name already: an error is due, half a session is not."""
    write(store, Key("A", "B", date(2020, 1, 1)))
    with monkeypatch.context() as patched:
        FullDisk(patched, 8)
        with pytest.raises(StoreError, match="A power cut may undo it"):
            write(store, n=PART_ROWS + 1)
    assert sum(map(len, store.find(KEY).events())) == PART_ROWS + 1


def test_two_imports_of_one_session_at_a_time_are_refused(store):
    with store.writer(KEY):
        with pytest.raises(StoreError, match="another process"), store.writer(KEY):
            pass
        with store.writer(KEY._replace(symbol="OTHER")):
            pass
    write(store)


def test_equal_sessions_give_equal_stores_and_any_difference_another_hash(store, tmp_path):
    hashes = set()
    for name, n, more in (("a", 10, {}), ("b", 10, {}), ("c", 11, {}), ("d", 10, {"note": 1})):
        other = Store(tmp_path / name)
        write(other, KEY, n, **more)
        hashes.add(other.hash())
    other = Store(tmp_path / "e")
    write(other, KEY._replace(symbol="S2"))
    hashes.add(other.hash())
    assert len(hashes) == 4


@pytest.mark.parametrize("symbol", ["BTC/USD", "..", ".hidden", "A B", "ES\\H4", "Ω", "nul\0"])
def test_any_symbol_has_a_folder_of_its_own_inside_the_store(store, symbol):
    key = KEY._replace(symbol=symbol)
    session = write(store, key)
    assert session.folder.relative_to(store.folder) == key.folder()
    assert len(session.folder.relative_to(store.folder).parts) == 3
    assert store.folder in session.folder.resolve().parents
    assert store.find(key).key == key
    assert [found.key for found in store.sessions()] == [key]


def test_a_session_needs_a_symbol(store):
    with pytest.raises(UsageError, match="--symbol"):
        store.writer(KEY._replace(symbol=""))


def test_a_store_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingError, match="no such folder"):
        Store(tmp_path / "nothing").sessions()


def test_a_folder_that_cannot_hold_a_session_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match="cannot hold a session"),
        Store(tmp_path / "file").writer(KEY),
    ):
        pass


def test_a_manifest_of_another_version_is_refused_and_left_alone(store):
    session = write(store)
    path = session.folder / MANIFEST
    text = json.loads(path.read_bytes())
    text["content"]["version"] = 99
    from mtsim.engine.sealed import sealed

    path.write_bytes(sealed(text["content"]))
    with pytest.raises(IntegrityError, match="--replace"):
        store.find(KEY)
    with pytest.raises(RuntimeError), store.writer(KEY):
        raise RuntimeError
    assert len(files(store)) == 2
    write(store, n=3)
    assert sum(map(len, store.sessions()[0].events())) == 3


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"content": 1}', b"\xff"])
def test_what_is_no_manifest_is_an_integrity_error_naming_the_file(store, content):
    session = write(store)
    (session.folder / MANIFEST).write_bytes(content)
    with pytest.raises(IntegrityError, match=MANIFEST):
        open_session(session.folder)


def test_a_part_that_is_gone_is_named(store):
    session = write(store)
    part = session.folder / session.manifest["parts"][0]["name"]
    part.unlink()
    with pytest.raises(IntegrityError, match=part.name):
        list(session.events())
