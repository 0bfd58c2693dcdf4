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
from typing import NamedTuple

from mtsim.errors import MissingError, UsageError
from mtsim.model.sources.base import OpenSource

_DAY = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])(?!\d)")
_PACKINGS = (".zst", ".gz", ".zip")
_ENDINGS = (*_PACKINGS, ".csv", ".dbn", ".pcap", ".pcapng", ".log", ".dat", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Kind:
    """One kind of source. `patterns` find its files in a folder, the preferred ones first."""

    module: str
    says: str
    patterns: tuple[str, ...]
    feed: str | None = None
    """A regular expression whose groups are equal in the names of files of one feed; None where
    every file is a feed of its own."""
    books: tuple[str, str] | None = None
    """What to put for what in a file's name to have that of the file with its books. Where two
    feeds are one session, the one that brings this evidence is imported."""


class Feed(NamedTuple):
    """Files to open together."""

    files: tuple[str, ...]
    found: bool
    """Whether a folder was named and these are in it, or they were named themselves."""


def _packed(*patterns: str) -> tuple[str, ...]:
    """The patterns of files that lie there as they are, or packed."""
    return tuple(pattern + end for pattern in patterns for end in ("", *_PACKINGS))


KINDS = {
    "lobster": Kind(
        "lobster",
        "LOBSTER message and order book files",
        ("*_message_*",),
        books=("_message_", "_orderbook_"),
    ),
    "itch": Kind(
        "itch",
        "Nasdaq TotalView-ITCH 5.0, day files and captures",
        ("*ITCH50", "*ITCH_50", "*.gz", *_packed("*.pcap", "*.pcapng")),
    ),
    "databento": Kind(
        "databento",
        "Databento market by order, DBN or CSV",
        _packed("*.mbo.dbn", "*.mbo.csv"),
        books=(".mbo", ".mbp-10"),
    ),
    "binance": Kind(
        "binance",
        "Binance's public archive of trades and aggTrades, and other tables of its trades",
        (
            "*-trades-*.zip",
            "*-aggTrades-*.zip",
            *_packed("*-trades-*.csv", "*-aggTrades-*.csv", "*_trades.csv", "*_trade_stream.csv"),
        ),
        feed=r"([^-]+)-(trades|aggTrades)-",
    ),
    "binance-stream": Kind(
        "binance_stream",
        "recorded Binance streams: trades, depth updates, snapshots",
        ("*.gz", *_packed("*.dat", "*.log", "*.jsonl")),
        feed=r"(.*)_\d{8}",
    ),
    "coinbase": Kind(
        "coinbase",
        "Coinbase level 2 updates and matches",
        _packed("*.csv"),
        feed=r"(.*?_\d{4}-\d\d-\d\d)_",
    ),
    "bitfinex": Kind("bitfinex", "Bitfinex level changes", _packed("*.csv")),
    "bitstamp": Kind("bitstamp", "Bitstamp order logs", _packed("*_raw.log", "*_events.csv")),
    "tardis": Kind(
        "tardis",
        "Tardis trades, quotes and book_snapshot_25",
        ("*_trades_*", "*_book_snapshot_25_*", "*_quotes_*"),
        feed=r"([a-z-]+)_(?:trades|book_snapshot_25|quotes)_([^.]+)",
    ),
    "submissions": Kind(
        "submissions", "order submissions to a matching engine", _packed("*submissions*.csv")
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


def feeds(kind: Kind, paths: Sequence[Path]) -> list[Feed]:
    """The files to open together, feed by feed: files as given, folders by the kind's patterns.

    The files that are given are opened together, in the order given; those of a folder and of all
    folders in it one by one, or as their names say within one folder. A file that is there in two
    forms is taken in one. Feeds with books beside them come first, then they go by name; what a
    name begins with a dot is not looked at. MissingError where a folder has no such file.
    """
    given = tuple(str(path) for path in paths if not path.is_dir())
    found = [Feed(given, found=False)] if given else []
    for folder in (path for path in paths if path.is_dir()):
        files = list(_files_in(kind, folder))
        if not files:
            wanted = ", ".join(kind.patterns) or "none: name the files"
            raise MissingError(f"{folder} has no file of this kind", f"Its patterns: {wanted}.")
        runs = _together(kind, files)
        with_books = _with_books(kind, files)
        runs.sort(key=lambda run: run[0] not in with_books)
        found += [Feed(tuple(map(str, run)), found=True) for run in runs]
    return found


def _together(kind: Kind, files: list[Path]) -> list[list[Path]]:
    """The files of a folder as feeds: named alike, and without a day missing between them."""
    if kind.feed is None:
        return [[file] for file in files]
    groups: dict[tuple[Path | str, ...], list[list[Path]]] = {}
    for file in files:
        match = re.match(kind.feed, file.name)
        named = match.groups() if match else (file.name,)
        runs = groups.setdefault((file.parent, *named), [])
        if runs and not _day_missing(runs[-1][-1].name, file.name):
            runs[-1].append(file)
        else:
            runs.append([file])
    return [run for runs in groups.values() for run in runs]


def _day_missing(before: str, after: str) -> bool:
    days = [_DAY.search(name) for name in (before, after)]
    dates = [date(int(day[1]), int(day[2]), int(day[3])) for day in days if day]
    return len(dates) == 2 and dates[1] - dates[0] > timedelta(days=1)


def _with_books(kind: Kind, files: list[Path]) -> set[Path]:
    """Those of the files that a file with their books lies beside."""
    if kind.books is None:
        return set()
    stems = {
        folder: {_stem(file.name) for file in folder.iterdir()}
        for folder in {file.parent for file in files}
    }
    orders, books = kind.books
    return {
        file
        for file in files
        if orders in file.name and _stem(file.name.replace(orders, books)) in stems[file.parent]
    }


def _files_in(kind: Kind, folder: Path) -> Iterator[Path]:
    taken: dict[tuple[Path, str], Path] = {}
    for pattern in kind.patterns:
        for file in sorted(folder.rglob(pattern)):
            inside = file.relative_to(folder).parts
            if file.is_file() and not any(part.startswith(".") for part in inside):
                taken.setdefault((file.parent, _stem(file.name)), file)
    yield from sorted(taken.values())


def _stem(name: str) -> str:
    while name.endswith(_ENDINGS):
        name = name.rpartition(".")[0]
    return name
