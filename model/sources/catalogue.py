"""The kinds of sources by name: which module reads them, and what their files are called.

A module is imported when its kind is asked for, so that a name costs nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path

from mtsim.errors import MissingError, UsageError
from mtsim.model.sources.base import OpenSource

_DAY = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])(?!\d)")
_ENDINGS = (".zst", ".gz", ".zip", ".csv", ".dbn", ".pcap", ".log", ".dat", ".json", ".parquet")


@dataclass(frozen=True)
class Kind:
    """One kind of source. `patterns` find its files in a folder, the preferred ones first."""

    module: str
    says: str
    patterns: tuple[str, ...]
    feed: str | None = None
    """A regular expression whose groups are equal in the names of files of one feed; None where
    every file is a feed of its own."""


KINDS = {
    "lobster": Kind("lobster", "LOBSTER message and order book files", ("*_message_*",)),
    "itch": Kind("itch", "Nasdaq TotalView-ITCH 5.0, day files and captures", ("*.gz", "*.pcap")),
    "databento": Kind(
        "databento",
        "Databento market by order, DBN or CSV",
        ("*.mbo.dbn.zst", "*.mbo.dbn", "*.mbo.csv.zst", "*.mbo.csv"),
    ),
    "binance": Kind(
        "binance",
        "Binance's public archive of trades and aggTrades",
        ("*-trades-*.zip", "*-aggTrades-*.zip", "*-trades-*.csv", "*-aggTrades-*.csv"),
        feed=r"([^-]+)-(trades|aggTrades)-",
    ),
    "binance-stream": Kind(
        "binance_stream",
        "recorded Binance streams: trades, depth updates, snapshots",
        ("*.gz", "*.dat.zst", "*.log.zst"),
        feed=r"(.*)_\d{8}",
    ),
    "coinbase": Kind(
        "coinbase",
        "Coinbase level 2 updates and matches",
        ("*.csv.zst", "*.csv"),
        feed=r"(.*?_\d{4}-\d\d-\d\d)_",
    ),
    "bitfinex": Kind(
        "bitfinex", "Bitfinex raw books and level changes", ("*.json.zst", "*.csv.zst", "*.csv")
    ),
    "bitstamp": Kind("bitstamp", "Bitstamp order logs", ("*_raw.log.zst", "*_events.csv.zst")),
    "tardis": Kind(
        "tardis",
        "Tardis trades, quotes and book_snapshot_25",
        ("*_trades_*", "*_book_snapshot_25_*", "*_quotes_*"),
        feed=r"([a-z-]+)_(?:trades|book_snapshot_25|quotes)_([^.]+)",
    ),
    "submissions": Kind(
        "submissions", "order submissions to a matching engine", ("*submissions*.csv*",)
    ),
    "mapped": Kind("mapped", "any order-by-order CSV or parquet, by a mapping in YAML", ()),
}


def kind_of(name: str) -> Kind:
    """The kind of this name. UsageError with the nearest one for a name that is none."""
    kind = KINDS.get(name.replace("_", "-"))
    if kind is not None:
        return kind
    near = difflib.get_close_matches(name, KINDS, 1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"there is no source {name!r}. {meant}Sources: {', '.join(KINDS)}")


def opener(kind: Kind) -> OpenSource:
    """The function that opens this kind's files, its module imported now."""
    return import_module(f"mtsim.model.sources.{kind.module}").open_sessions


def feeds(kind: Kind, paths: Sequence[Path]) -> list[tuple[str, ...]]:
    """The files to open together, feed by feed: files as given, folders by the kind's patterns.

    The files that are given are opened together, in the order given; those of a folder one by one,
    or as their names say. A file that is there in two forms is taken in one. MissingError where a
    folder has no such file.
    """
    given = tuple(str(path) for path in paths if not path.is_dir())
    found = [given] if given else []
    for folder in (path for path in paths if path.is_dir()):
        files = list(_files_in(kind, folder))
        if not files:
            wanted = ", ".join(kind.patterns) or "none: name the files"
            raise MissingError(f"{folder} has no file of this kind", f"Its patterns: {wanted}.")
        found += _together(kind, files)
    return found


def _together(kind: Kind, files: list[Path]) -> list[tuple[str, ...]]:
    """The files of a folder as feeds: named alike, and without a day missing between them."""
    if kind.feed is None:
        return [(str(file),) for file in files]
    groups: dict[tuple[str, ...], list[list[Path]]] = {}
    for file in files:
        match = re.match(kind.feed, file.name)
        runs = groups.setdefault(match.groups() if match else (file.name,), [])
        if runs and not _day_missing(runs[-1][-1].name, file.name):
            runs[-1].append(file)
        else:
            runs.append([file])
    return [tuple(map(str, run)) for runs in groups.values() for run in runs]


def _day_missing(before: str, after: str) -> bool:
    days = [_DAY.search(name) for name in (before, after)]
    dates = [date(int(day[1]), int(day[2]), int(day[3])) for day in days if day]
    return len(dates) == 2 and dates[1] - dates[0] > timedelta(days=1)


def _files_in(kind: Kind, folder: Path) -> Iterator[Path]:
    taken: dict[str, Path] = {}
    for pattern in kind.patterns:
        for file in sorted(folder.glob(pattern)):
            if file.is_file():
                taken.setdefault(_stem(file.name), file)
    yield from sorted(taken.values())


def _stem(name: str) -> str:
    while name.endswith(_ENDINGS):
        name = name.rpartition(".")[0]
    return name
