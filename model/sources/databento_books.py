"""The books that Databento itself makes of an MBO file: MBP-10 CSV, placed among its records.

A row of that file is the book after one record. Both files have the venue's sequence number and
time, so the last row of each pair of them belongs after the last record of the same pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mtsim.errors import DataError
from mtsim.model.sources.base import Truth
from mtsim.model.sources.databento_files import UNDEF_PRICE, csv_kinds
from mtsim.model.sources.files import Kind, read_csv

LEVELS = 10
F_LAST = 128


def truth_beside(path: str) -> str | None:
    """The MBP-10 file that lies beside an MBO file under the same name, if there is one."""
    here = Path(path)
    stem = re.sub(r"\bmbo\b", "mbp-10", here.name.split(".csv")[0].split(".dbn")[0])
    if stem == here.name.split(".csv")[0].split(".dbn")[0]:
        return None
    beside = (here.with_name(stem + suffix) for suffix in (".csv.zst", ".csv.gz", ".csv"))
    return next((str(file) for file in beside if file.is_file()), None)


def orders_beside(path: str) -> str | None:
    """The MBO file whose books an MBP-10 file holds, if it lies beside it."""
    here = Path(path)
    stem = re.sub(r"\bmbp-10\b", "mbo", here.name.split(".csv")[0])
    suffixes = (".dbn.zst", ".dbn", ".csv.zst", ".csv.gz", ".csv")
    beside = (here.with_name(stem + suffix) for suffix in suffixes)
    return next((str(file) for file in beside if file.is_file()), None)


def is_books(path: str) -> bool:
    return re.search(r"\bmbp-10\b", Path(path).name) is not None


class Books:
    """An MBP-10 file, read alongside the records it was made from."""

    def __init__(self, path: str, instrument_id: int, units: int, lot: int):
        self.path = path
        self.without_record = 0
        """Books that no record accounts for."""
        self._instrument_id = instrument_id
        self._units = units
        self._lot = lot
        self._blocks = self._read()
        self._waiting: Truth | None = None
        self._keys = np.empty((0, 2), np.int64)

    def after(self, ts_event: np.ndarray, sequence: np.ndarray, ends: np.ndarray) -> Truth | None:
        """The books after these records. `ends` are the last records of a time and sequence."""
        keys = np.stack((ts_event[ends], sequence[ends]), 1).astype(np.int64)
        if not len(keys):
            return None
        self._read_past(keys[-1])
        waiting = self._waiting
        if waiting is None:
            return None
        due = ~_later(self._keys, keys[-1])
        place, found = _matched(keys, self._keys[due])
        before_all = ~_later(self._keys[due], keys[0]) & ~found
        self.without_record += int((~found & ~before_all).sum())
        taken = Truth(*(column[due][found] for column in waiting))
        self._waiting = Truth(*(column[~due] for column in waiting))
        self._keys = self._keys[~due]
        return taken._replace(after=ends[place[found]] + 1) if len(taken.after) else None

    def _read_past(self, key: np.ndarray) -> None:
        while not len(self._keys) or not _later(self._keys[-1:], key)[0]:
            block = next(self._blocks, None)
            if block is None:
                return
            keys, truth = block
            self._keys = np.concatenate((self._keys, keys))
            if self._waiting is not None:
                both = zip(self._waiting, truth, strict=True)
                truth = Truth(*(np.concatenate(pair) for pair in both))
            # Of rows with one key the last is the book when the event is over.
            last = np.append(np.any(self._keys[1:] != self._keys[:-1], axis=1), True)
            self._keys = self._keys[last]
            self._waiting = Truth(*(column[last] for column in truth))

    def _read(self) -> Iterator[tuple[np.ndarray, Truth]]:
        prices = [f"{side}_px_{k:02}" for side in ("bid", "ask") for k in range(LEVELS)]
        sizes = [f"{side}_sz_{k:02}" for side in ("bid", "ask") for k in range(LEVELS)]
        kinds: dict[str, Kind] = csv_kinds(self.path, ("ts_event",), tuple(prices))
        kinds |= dict.fromkeys(("instrument_id", "sequence", "flags", *sizes), "int")
        for first, block in read_csv(self.path, kinds, empty=dict.fromkeys(prices, UNDEF_PRICE)):
            row = first + np.arange(len(block["sequence"]))
            price = np.stack([block[name] for name in prices], 1).reshape(-1, 2, LEVELS)
            lots = np.stack([block[name] for name in sizes], 1).reshape(-1, 2, LEVELS)
            there = (price != UNDEF_PRICE) & (lots > 0)
            off = there & ((price % self._units != 0) | (lots % self._lot != 0))
            if off.any():
                at = int(np.argmax(off.any((1, 2))))
                raise DataError(self.path, int(row[at]), "a level is off the grid of tick and lot")
            tick = np.where(there, price // self._units, 0)
            if np.abs(tick).max(initial=0) > 2**30:
                raise DataError(self.path, int(row[0]), "a price is out of range")
            truth = Truth(row, row, tick.astype(np.int32), np.where(there, lots // self._lot, 0))
            mine = (block["instrument_id"] == self._instrument_id) & (block["flags"] & F_LAST != 0)
            keys = np.stack((block["ts_event"], block["sequence"]), 1)
            yield keys[mine], Truth(*(column[mine] for column in truth))


def _later(keys: np.ndarray, key: np.ndarray) -> np.ndarray:
    return (keys[:, 0] > key[0]) | ((keys[:, 0] == key[0]) & (keys[:, 1] > key[1]))


def _matched(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted pair stands among keys, the last one of equals, and whether it does."""
    pair = np.dtype([("time", "<i8"), ("sequence", "<i8")])
    have = np.ascontiguousarray(keys).view(pair).reshape(-1)
    want = np.ascontiguousarray(wanted).view(pair).reshape(-1)
    order = np.argsort(have, kind="stable", order=("time", "sequence"))
    place = np.searchsorted(have[order], want, side="right") - 1
    place = order[np.maximum(place, 0)]
    return place, have[place] == want
