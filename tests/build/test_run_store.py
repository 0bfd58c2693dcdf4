"""A run's folder: what it acknowledged stays, what was asked cannot change, what is damaged is
named."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from mtsim.build.execute import execute
from mtsim.build.replay import replay_run
from mtsim.build.run_store import MANIFEST, RUN, SCENARIO, TAPE, acknowledged, is_run, open_run
from mtsim.engine.sealed import sealed, unsealed
from mtsim.errors import IntegrityError, MissingError, StoreError, UsageError
from mtsim.scenario import load
from mtsim.scenario.dump import dump
from tests.build.small import BUYER, SECOND_NS, THIN_BIDS, resolved, simulated

CHECKPOINT_NS = 15 * SECOND_NS


class Cut(BaseException):
    """What ends a run from within, wherever it is."""


def run(folder: Path, *parts, checkpoint_ns=CHECKPOINT_NS, progress=None, **options):
    return execute(
        resolved(*parts, **options), folder, checkpoint_ns=checkpoint_ns, progress=progress
    )


def cut_at(time_ns: int):
    def progress(simulation):
        if simulation.now_ns >= time_ns:
            raise Cut

    return progress


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run(folder, BUYER, THIN_BIDS).status == "ran"
    return folder


@pytest.fixture(scope="module")
def whole() -> str:
    return simulated(BUYER, THIN_BIDS).tape.hash()


def test_the_tape_is_that_of_the_simulation(finished, whole):
    found = open_run(finished)
    assert found.tape.hash() == found.outcome["tape_hash"] == whole
    assert is_run(finished)
    assert sorted(path.name for path in finished.iterdir()) == [MANIFEST, RUN, SCENARIO, TAPE]


def test_its_scenario_is_what_was_asked(finished):
    wanted = resolved(BUYER, THIN_BIDS)
    assert load(finished / SCENARIO).scenario == wanted.scenario
    assert (finished / SCENARIO).read_text() == dump(wanted, origins=False)


def test_the_same_again_finds_it_finished(finished, whole):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    done = run(finished, BUYER, THIN_BIDS)
    assert (done.status, done.events_run, done.outcome["tape_hash"]) == ("present", 0, whole)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


@pytest.mark.parametrize(
    ("parts", "options", "said"),
    [
        ((BUYER,), {}, "shocks"),
        ((BUYER, THIN_BIDS), {"seed": 8}, "seed: 8"),
        ((BUYER, THIN_BIDS), {"overrides": ("flow.depth=9",)}, "depth: 9"),
    ],
)
def test_another_run_in_its_folder_is_refused(finished, parts, options, said):
    with pytest.raises(UsageError, match="holds another run") as refused:
        run(finished, *parts, **options)
    assert said in str(refused.value)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"holds thesis\.tex\) and not a run"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_not_there_or_not_finished_is_said(tmp_path):
    with pytest.raises(MissingError, match="no run is there"):
        open_run(tmp_path)
    with pytest.raises(Cut):
        run(tmp_path / "run", progress=cut_at(0))
    with pytest.raises(MissingError, match="not finished"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("cut_s", [0, 14, 16, 44, 60])
def test_cut_short_it_goes_on_from_its_last_checkpoint(tmp_path, whole, cut_s):
    folder = tmp_path / "run"
    with pytest.raises(Cut):
        run(folder, BUYER, THIN_BIDS, progress=cut_at(cut_s * SECOND_NS))
    kept = len(acknowledged(folder)[1])
    assert (kept > 0) == (cut_s > 15)

    done = run(folder, BUYER, THIN_BIDS)
    assert done.status == ("resumed" if kept else "ran")
    assert done.outcome["tape_hash"] == whole
    assert done.events_run == done.outcome["events"] - max(0, kept - 48)
    assert open_run(folder).tape.hash() == whole


def test_how_often_it_is_checkpointed_changes_nothing(tmp_path, whole):
    for number, checkpoint_ns in enumerate((SECOND_NS, 10**18)):
        run(tmp_path / str(number), BUYER, THIN_BIDS, checkpoint_ns=checkpoint_ns)
        assert open_run(tmp_path / str(number)).tape.hash() == whole


def test_two_processes_cannot_write_one_run(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="another process is writing"):
        run(tmp_path)
    os.close(descriptor)
    assert run(tmp_path).status == "ran"


def test_an_unfinished_run_of_other_code_is_refused(tmp_path, monkeypatch):
    with pytest.raises(Cut):
        run(tmp_path, progress=cut_at(10 * SECOND_NS))
    monkeypatch.setattr("mtsim.build.run_store.code_digest", lambda: "other")
    with pytest.raises(UsageError, match="another version of mtsim began this run"):
        run(tmp_path)


def test_a_finished_run_of_other_code_is_there_and_said_to_be(finished, monkeypatch):
    assert run(finished, BUYER, THIN_BIDS).by_other_code is False
    monkeypatch.setattr("mtsim.build.execute.code_digest", lambda: "other")
    done = run(finished, BUYER, THIN_BIDS)
    assert (done.status, done.by_other_code) == ("present", True)


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


@pytest.mark.parametrize("room", [*range(8), 14, 25, 40, 52])
def test_a_full_disk_is_a_clear_error_and_the_run_goes_on_later(tmp_path, monkeypatch, whole, room):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        disk = FullDisk(patched, room)
        with pytest.raises(StoreError, match="No space left on device") as full:
            run(folder, BUYER, THIN_BIDS)
        assert disk.room == 0
    assert "run the same command again" in str(full.value)
    assert not list(folder.glob("*.part"))
    kept = len(acknowledged(folder)[1]) if is_run(folder) else 0
    done = run(folder, BUYER, THIN_BIDS)
    assert done.outcome["tape_hash"] == whole
    assert done.events_run == done.outcome["events"] - max(0, kept - 48)


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << (at % 8)
    path.write_bytes(content)


@pytest.mark.parametrize("at", [0, 1_234, 77_777])
def test_a_changed_bit_anywhere_is_named(tmp_path, finished, at):
    for path in sorted(path for path in finished.rglob("*") if path.is_file()):
        copy = tmp_path / "run" / path.relative_to(finished)
        for file in (p for p in finished.rglob("*") if p.is_file()):
            target = tmp_path / "run" / file.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        flipped(copy, at)
        with pytest.raises(IntegrityError) as damaged:
            open_run(tmp_path / "run")
        assert str(copy) in str(damaged.value)


def test_a_damaged_state_is_named_when_the_run_would_go_on(tmp_path):
    with pytest.raises(Cut):
        run(tmp_path, progress=cut_at(50 * SECOND_NS))
    (state,) = tmp_path.glob("state-*.bin")
    flipped(state, 500)
    with pytest.raises(IntegrityError, match=state.name):
        run(tmp_path)
    state.unlink()
    with pytest.raises(IntegrityError, match=f"{state.name}: missing"):
        run(tmp_path)


def test_a_replay_ends_in_the_same_book(finished, whole):
    found = replay_run(finished)
    outcome = open_run(finished).outcome
    assert (found.tape_hash, found.book_hash) == (whole, outcome["book_hash"])
    assert found.messages == outcome["events"] + outcome["opening_messages"]
    assert found.fills == outcome["fills"] > 0


@pytest.mark.parametrize(
    ("key", "said"),
    [("book_hash", "its replay in"), ("tape_hash", "is of another tape")],
)
def test_an_outcome_that_is_not_the_tapes_is_found(tmp_path, key, said):
    """Rewritten and sealed again, as no damage could."""
    run(tmp_path)
    manifest = unsealed(tmp_path / MANIFEST, "")
    manifest["outcome"][key] = "0" * 64
    (tmp_path / MANIFEST).write_bytes(sealed(manifest))
    with pytest.raises(IntegrityError, match=said):
        replay_run(tmp_path)


def test_a_tape_that_says_what_did_not_happen_is_found(finished, monkeypatch):
    """Intact files, sealed by whoever changed them: only executing the messages shows it."""
    run_of = open_run(finished)
    rows = run_of.tape._rows["results"].all()
    rows.flags.writeable = True
    rows["filled_lots"][rows["filled_lots"] > 0] += 1
    monkeypatch.setattr("mtsim.build.replay.open_run", lambda _: run_of)
    with pytest.raises(IntegrityError, match="the replay differs from the tape"):
        replay_run(finished)
