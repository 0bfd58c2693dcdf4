"""Verifying a store: nothing in it can change unseen."""

import json
import random
import shutil
from datetime import date

import numpy as np
import pytest

from mtsim.engine.events import Origin
from mtsim.engine.sealed import sealed
from mtsim.model.ingest import import_session
from mtsim.model.store import MANIFEST, SessionWriter, Store, StoredSession
from mtsim.model.verify import verify_store
from tests.model.generated_feed import made_up


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("original")
    store = Store(folder / "store")
    import_session(made_up(folder / "f", n=600), store)
    return store


@pytest.fixture
def store(original, tmp_path) -> Store:
    """A copy to be damaged."""
    return Store(shutil.copytree(original.folder, tmp_path / "store"))


def problems(store: Store) -> list[str]:
    return [problem for verified in verify_store(store) for problem in verified.problems]


def session_of(store: Store) -> StoredSession:
    (session,) = store.sessions()
    return session


def write_manifest(session: StoredSession, manifest: dict) -> None:
    (session.folder / MANIFEST).write_bytes(sealed(manifest))


def test_an_import_is_right(original):
    (verified,) = verify_store(original)
    assert verified.problems == ()
    said = verified.as_json()
    assert said["session"] == "UP MADE 2020-01-02"
    assert said["checks"]["error"] == 0
    assert said["agreement"]["equal"] == 600
    json.dumps(said)


def test_any_flipped_bit_of_any_file_is_found(store):
    draw = random.Random(1)
    files = sorted(path for path in store.folder.rglob("*") if path.is_file())
    assert len(files) == 3
    for path in files:
        content = path.read_bytes()
        for _ in range(40):
            at, bit = draw.randrange(len(content)), draw.randrange(8)
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            found = problems(store)
            assert found, (path.name, at, bit)
            assert str(path.parent) in found[0]
        path.write_bytes(content)
    assert problems(store) == []


def test_a_file_that_is_cut_short_or_gone_is_found(store):
    for path in sorted(store.folder.rglob("*.parquet")):
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert path.name in problems(store)[0]
        path.unlink()
        assert path.name in problems(store)[0]
        path.write_bytes(content)


def test_a_session_in_another_s_place_is_found(store):
    folder = session_of(store).folder
    folder.rename(folder.with_name("2020-01-03"))
    (problem,) = problems(store)
    assert "whose place is UP/MADE/2020-01-02" in problem


def test_one_damaged_session_does_not_hide_the_others(store, tmp_path):
    later = made_up(tmp_path / "g", seed=2, n=100, date=date(2020, 1, 3))
    import_session(later, store)
    first, second = store.sessions()
    (first.folder / MANIFEST).write_text("nothing")
    found = list(verify_store(store))
    assert [bool(verified.problems) for verified in found] == [True, False]
    assert found[0].stored is None
    assert found[1].stored is not None
    assert found[1].stored.key == second.key


def rewrite(store: Store, change) -> None:
    """Put the session's events in the store again, changed, with every digest right."""
    session = session_of(store)
    rows = np.concatenate(list(session.events()))
    manifest = dict(session.manifest)
    with SessionWriter(store.folder, session.key) as writer:
        writer.append(change(rows.copy()))
        writer.commit(manifest, session.snapshots())


def test_events_that_the_engine_would_answer_otherwise_are_found(store):
    def fill_more(rows):
        rows["filled_lots"][np.argmax(rows["filled_lots"] > 0)] += 1
        return rows

    rewrite(store, fill_more)
    (problem,) = problems(store)
    assert "is not what the engine makes of it now" in problem


def test_an_event_that_is_missing_is_found(store):
    rewrite(store, lambda rows: np.delete(rows, 90))
    assert problems(store)


def test_the_events_written_again_as_they_were_are_right(store):
    """The three tests around can fail."""
    before = store.hash()
    rewrite(store, lambda rows: rows)
    assert problems(store) == []
    assert store.hash() == before


def test_a_marker_that_should_not_be_there_is_found(store):
    rewrite(store, lambda rows: np.concatenate([rows, rows[-1:]]))
    (problem,) = problems(store)
    assert "1 events follow the end of the session" in problem


@pytest.mark.parametrize("what", ["digests", "events", "gaps"])
def test_a_manifest_that_says_something_else_is_found(store, what):
    session = session_of(store)
    manifest = json.loads(json.dumps(session.manifest))
    if what == "gaps":
        manifest[what] = [{"after_events": 5, "from_ns": 0, "to_ns": 1}]
    else:
        manifest[what][next(iter(manifest[what]))] = 0
    write_manifest(session, manifest)
    (problem,) = problems(store)
    assert f"the {what} of the events executed again" in problem


def test_snapshots_that_agree_otherwise_than_at_the_import_are_found(store):
    session = session_of(store)
    manifest = json.loads(json.dumps(session.manifest))
    manifest["agreement"]["kept_equal"] -= 1
    write_manifest(session, manifest)
    (problem,) = problems(store)
    assert "the book agrees with" in problem


def test_errors_that_were_kept_are_repeated(tmp_path):
    def swap(feed, truth):
        return feed, truth._replace(tick=truth.tick[:, ::-1], lots=truth.lots[:, ::-1])

    store = Store(tmp_path / "store")
    import_session(made_up(tmp_path / "f", n=300, change=swap), store, keep=True)
    found = problems(store)
    assert found
    assert all("kept though it is an error" in problem for problem in found)
    assert found[0].startswith("f:81: [snapshot-sides]")


def test_a_session_with_a_gap_is_right(tmp_path):
    def gap(feed, truth):
        feed["origin"][200:210] = Origin.OPENING
        return feed, truth

    store = Store(tmp_path / "store")
    import_session(made_up(tmp_path / "f", n=400, change=gap), store)
    assert problems(store) == []
