"""A run on disk: what was asked, its tape, and where it stands, so that it survives its process.

    scenario.yaml       resolved, every value spelled out
    run.json            written next, then it is a run: versions and digests of what was asked
    tape/               see `mtsim.engine.tape_files`
    state-<n>.bin       the worlds when <n> rows had been recorded; gone when the run is finished
    manifest.json       written last: digests of all the above, and the outcome

A state is written before the segment of the tape that leads to it, so that whatever the tape has
acknowledged there is a state to go on from, and nothing is recorded twice. Every file is written
beside its place, synced and renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import mtsim
from mtsim.build.plan import Plan, code_digest
from mtsim.build.simulation import Simulation
from mtsim.build.state_bytes import from_bytes, to_bytes
from mtsim.engine import tape_files
from mtsim.engine.sealed import read_whole, sealed, sync_folder, unsealed
from mtsim.engine.tape import Tape
from mtsim.engine.tape_files import TapeWriter
from mtsim.errors import IntegrityError, MissingError, StoreError, TapeError, UsageError

SCENARIO = "scenario.yaml"
RUN = "run.json"
TAPE = "tape"
MANIFEST = "manifest.json"
FORMAT = "mtsim-run"
VERSION = 1

_PART = ".part"
_STATE = re.compile(r"state-\d{12,}\.bin")


class Finished(NamedTuple):
    """A finished run, every byte of it verified."""

    run: dict[str, Any]
    outcome: dict[str, Any]
    tape: Tape


class RunWriter:
    """Puts a plan's run into a folder; use it in a `with`.

    The folder is new or empty, or holds this very run, unfinished or finished. UsageError for
    anything else in it, StoreError while another process writes it.
    """

    def __init__(self, folder: Path | str, plan: Plan, scenario_text: str):
        self.folder = Path(folder)
        self.plan = plan
        self._scenario_text = scenario_text
        self._tape: TapeWriter | None = None
        self._lock: int | None = None

    def __enter__(self) -> RunWriter:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot hold a run: {error}") from error
        try:
            # On the folder itself: the system lets go of it however this process ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.__exit__()
            raise StoreError(
                f"{self.folder}: another process is writing this run. Wait for it to end."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finished(self) -> Finished | None:
        """The run in this folder where it is finished. UsageError where it is of another plan."""
        if not (self.folder / MANIFEST).exists():
            return None
        found = open_run(self.folder)
        self._require_same(found.run)
        return found

    def start(self, *, paranoid: bool = False) -> Simulation:
        """The simulation at its beginning, or where the run in this folder was acknowledged last.

        IntegrityError naming the file where one is damaged.
        """
        for path in self.folder.glob(f"*{_PART}"):
            path.unlink()
        if (self.folder / RUN).exists():
            run = _read_run(self.folder)
            self._require_same(run)
            if run["code_sha256"] != code_digest():
                raise UsageError(
                    f"{self.folder}: another version of mtsim began this run (its code differs). "
                    "Finish it with that version, or name another folder."
                )
        else:
            self._begin()
        folder = self.folder / TAPE
        if (folder / tape_files.MANIFEST).exists():
            # All recorded; killed before its own manifest was written.
            tape = tape_files.load(folder)
        else:
            self._tape = self._tape_writer(folder)
            tape = self._tape.tape
        if _position(tape) == 0:
            return Simulation.begin(self.plan, tape, paranoid=paranoid)
        path = self._state_path(tape)
        if not path.exists():
            raise IntegrityError(f"{path}: missing, though the tape beside it leads there")
        state = from_bytes(read_whole(path), str(path))
        return Simulation.resume(self.plan, tape, state, paranoid=paranoid)

    def checkpoint(self, simulation: Simulation) -> None:
        """Acknowledge everything until now: from here on it survives the process."""
        if self._tape is None:
            return
        state = self._state_path(self._tape.tape)
        self._write(state.name, to_bytes(simulation.state()))
        try:
            self._tape.flush()
        except TapeError as error:
            raise StoreError(f"{error} {self._way_out()}") from error
        self._clear_states(state)

    def finish(self, simulation: Simulation, outcome: dict[str, Any]) -> None:
        """Finish the run of a simulation that is over."""
        self.checkpoint(simulation)
        if self._tape is not None:
            try:
                self._tape.commit()
            except TapeError as error:
                raise StoreError(f"{error} {self._way_out()}") from error
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "sha256": {name: _digest(self.folder / name) for name in _sealed_names()},
            "outcome": outcome,
        }
        self._write(MANIFEST, sealed(manifest))
        self._clear_states()

    def _begin(self) -> None:
        beside = sorted(path.name for path in self.folder.iterdir() if path.name != SCENARIO)
        if beside:
            raise UsageError(
                f"{self.folder}: not empty (it holds {beside[0]}) and not a run. Name another "
                "folder with --out."
            )
        text = self._scenario_text.encode()
        self._write(SCENARIO, text)
        run = {
            "format": FORMAT,
            "version": VERSION,
            "scenario": self.plan.scenario.name,
            "seed": self.plan.seed,
            "plan_sha256": self.plan.digest(),
            "scenario_sha256": hashlib.sha256(text).hexdigest(),
            "files": self.plan.files,
            "code_sha256": code_digest(),
            "versions": _versions(),
        }
        self._write(RUN, sealed(run))

    def _tape_writer(self, folder: Path) -> TapeWriter:
        try:
            if (folder / tape_files.HEADER).exists():
                return TapeWriter.resume(folder)
            # Killed while the header was on its way: nothing else can be there.
            (folder / f"{tape_files.HEADER}{_PART}").unlink(missing_ok=True)
            return TapeWriter(folder, self.plan.new_tape())
        except TapeError as error:
            raise StoreError(f"{error} {self._way_out()}") from error

    def _require_same(self, run: dict[str, Any]) -> None:
        if run["plan_sha256"] == self.plan.digest():
            return
        stored = read_whole(self.folder / SCENARIO).decode().splitlines()
        wanted = self._scenario_text.splitlines()
        theirs = next((line for line in stored if line not in wanted), "")
        ours = next((line for line in wanted if line not in stored), "")
        raise UsageError(
            f"{self.folder}: holds another run.\nIts scenario says: {theirs.strip()}\n"
            f"This one:          {ours.strip()}\nName another folder with --out."
        )

    def _state_path(self, tape: Tape) -> Path:
        return self.folder / f"state-{_position(tape):012}.bin"

    def _clear_states(self, but: Path | None = None) -> None:
        for path in self.folder.iterdir():
            if _STATE.fullmatch(path.name) and path != but:
                path.unlink()

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        part = path.with_name(name + _PART)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                # Clearing up after a failed write, whose error is what the caller must see.
                part.unlink(missing_ok=True)
            raise StoreError(f"{path}: could not be written: {error}. {self._way_out()}") from error

    def _way_out(self) -> str:
        return "Make room and run the same command again: it goes on from what was acknowledged."


def open_run(folder: Path | str) -> Finished:
    """The finished run in a folder. MissingError where there is none or it is not finished,
    IntegrityError naming the file that is not what the manifest says."""
    folder = Path(folder)
    run = _read_run(folder)
    if not (folder / MANIFEST).exists():
        raise MissingError(
            f"{folder}: this run is not finished", "The command that began it goes on with it."
        )
    manifest = unsealed(folder / MANIFEST, "the manifest of a run")
    _require_version(folder / MANIFEST, manifest)
    for name, expected in manifest["sha256"].items():
        found = _digest(folder / name)
        if found != expected:
            raise IntegrityError(
                f"{folder / name}: SHA-256 is {found}, {folder / MANIFEST} says {expected}"
            )
    outcome, tape = manifest["outcome"], tape_files.load(folder / TAPE)
    if outcome["tape_hash"] != tape.hash():
        raise IntegrityError(f"{folder / MANIFEST}: is of another tape than the one beside it")
    return Finished(run, outcome, tape)


def is_run(folder: Path | str) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (Path(folder) / RUN).is_file()


def acknowledged(folder: Path | str) -> tuple[dict[str, Any], Tape]:
    """What was asked of an unfinished run, and its tape as far as it is acknowledged."""
    folder = Path(folder)
    run = _read_run(folder)
    if not (folder / TAPE / tape_files.HEADER).exists():
        return run, Tape(seeds={}, config={})
    return run, tape_files.load(folder / TAPE, recover=True)


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / RUN
    if not path.exists():
        raise MissingError(f"{folder}: no run is there", "Name the folder of one (mtsim run).")
    run = unsealed(path, "a file of a run")
    _require_version(path, run)
    found = _digest(folder / SCENARIO)
    if found != run["scenario_sha256"]:
        raise IntegrityError(
            f"{folder / SCENARIO}: SHA-256 is {found}, {path} says {run['scenario_sha256']}"
        )
    return run


def _require_version(path: Path, value: dict[str, Any]) -> None:
    found = (value.get("format"), value.get("version"))
    if found != (FORMAT, VERSION):
        raise IntegrityError(
            f"{path}: (format, version) are {found}; this mtsim reads {(FORMAT, VERSION)}"
        )


def _sealed_names() -> tuple[str, ...]:
    return SCENARIO, RUN, f"{TAPE}/{tape_files.MANIFEST}"


def _versions() -> dict[str, str]:
    import numba
    import numpy as np

    return {
        "mtsim": mtsim.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def _position(tape: Tape) -> int:
    """How many rows of any kind are on a tape; it only grows, so it names a moment of the run."""
    return len(tape) + len(tape.table("marks")) + len(tape.shocks)


def _digest(path: Path) -> str:
    return hashlib.sha256(read_whole(path)).hexdigest()
