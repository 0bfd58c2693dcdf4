"""Market data: import feeds into a store, verify it, look at it, take it out again."""

from __future__ import annotations

from datetime import date as Date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from mtsim.cli.console import print_json, print_table, progress, say
from mtsim.cli.datasets import prepare, tokens
from mtsim.cli.session_rows import (
    COLUMNS,
    cells,
    imported_json,
    name_of,
    or_dash,
    passed_over,
    shown_progress,
)
from mtsim.errors import EXIT_INTEGRITY, EXIT_OK, DataError, MissingError, UsageError

if TYPE_CHECKING:
    from mtsim.model.ingest import Imported
    from mtsim.model.store import Key

command = App(name="data", help="Market data: import, verify, stats, fetch, map, export.")

Json = Annotated[bool, Parameter(help="Print as JSON.", negative="")]
StoreOption = Annotated[Path, Parameter(name="--store", help="The folder of the store.")]


@command.command(name="import")
def import_(
    source: Annotated[str, Parameter(help="The kind of source: lobster, itch, databento, ...")],
    files: Annotated[list[Path], Parameter(help="Its files, or folders of them.")],
    /,
    *,
    store: StoreOption,
    symbol: Annotated[str | None, Parameter(help="What trades.")] = None,
    date: Annotated[str | None, Parameter(help="The day, as 2012-06-21.")] = None,
    tick: Annotated[str | None, Parameter(help="One tick, as 0.01.")] = None,
    lot: Annotated[str | None, Parameter(help="One lot, as 1.")] = None,
    venue: Annotated[str | None, Parameter(help="Where it trades.")] = None,
    keep: Annotated[
        bool, Parameter(help="Store what breaks a check, with its findings.", negative="")
    ] = False,
    replace: Annotated[
        bool, Parameter(help="Put the session in the place of one in the store.", negative="")
    ] = False,
    all_snapshots: Annotated[
        bool, Parameter(help="Compare every level of every snapshot, not of some.", negative="")
    ] = False,
    json: Json = False,
) -> int:
    """Import files into a store, a session a day, checked at the door.

    A session imported from the same files before is left as it is. What breaks a check is not
    stored, and the exit code is 4.

    Of a folder, all files of the kind are imported, those of folders in it too. Where two are the
    same session, the one with the feed's own books beside it is imported, or else the first by
    name; what is in the store stays there. The other is passed over, as are files that hold no
    session, such as captures of single messages: each is a row that says so, and why. To have the
    other one, name it, with --venue to have both or --replace to have it instead. Files that are
    named are never passed over: what keeps them out is an error.
    """
    from mtsim.model.ingest import import_files
    from mtsim.model.sources.base import Options
    from mtsim.model.sources.catalogue import feeds, kind_of, opener
    from mtsim.model.store import Store

    kind = kind_of(source)
    options = Options(symbol, _day(date), _step("--tick", tick), _step("--lot", lot), venue)
    ours: set[Key] = set()
    rows: list[Imported] = []
    errors: list[DataError | MissingError | UsageError] = []
    with progress(f"Importing {source}") as step:
        for feed in feeds(kind, files):
            done = import_files(
                opener(kind),
                feed.files,
                options,
                Store(store),
                keep=keep,
                replace=replace,
                pass_over=feed.found,
                all_snapshots=all_snapshots,
                progress=shown_progress(step),
                ours=ours,
            )
            try:
                for one in done:
                    rows.append(one)
                    if one.error is not None and one.status == "refused":
                        errors.append(one.error)
            except (DataError, MissingError, UsageError) as error:
                # Of these files; the other feeds of a folder may be fine.
                errors.append(error)
    if json:
        print_json([imported_json(one) for one in rows])
    elif rows:
        print_table(
            ("session", "status", *COLUMNS),
            [(name_of(one), one.status, *cells(one.stored)) for one in rows],
        )
        # Once for each file, however many sessions of it are passed over for one reason.
        left = dict.fromkeys(passed_over(one) for one in rows if one.status == "passed over")
        if left:
            print_table(("passed over", "why"), left)
    for error in errors:
        say(f"{type(error).__name__}: {error}")
    return errors[0].exit_code if errors else EXIT_OK


@command.command
def verify(
    store: Annotated[Path, Parameter(help="The folder of the store.")], /, *, json: Json = False
) -> int:
    """Verify a store: every byte, and the engine's answers to every event once more.

    Exits 4, naming what is wrong.
    """
    from mtsim.model.store import Store
    from mtsim.model.verify import verify_store

    opened = Store(store)
    found = []
    with progress(f"Verifying {store}") as step:
        for verified in verify_store(opened):
            step(str(verified.folder))
            found.append(verified)
    bad = [verified for verified in found if verified.problems]
    whole = opened.hash()
    if json:
        print_json(
            {
                "store_sha256": whole,
                "sessions": [verified.as_json() for verified in found],
                "unfinished": [str(folder) for folder in opened.unfinished()],
            }
        )
    else:
        rows = [
            (
                str(verified.stored.key) if verified.stored else str(verified.folder),
                "WRONG" if verified.problems else "ok",
                *cells(verified.stored),
            )
            for verified in found
        ]
        print_table(("session", "store", *COLUMNS), rows)
    for verified in bad:
        for problem in verified.problems:
            say(f"IntegrityError: {problem}")
    for folder in opened.unfinished():
        say(f"{folder}: an import that did not finish; it is no part of the store")
    say(f"{len(found) - len(bad)} of {len(found)} sessions are right; the store is {whole}")
    return EXIT_INTEGRITY if bad else EXIT_OK


@command.command
def stats(
    store: Annotated[Path, Parameter(help="The folder of the store, or of one session.")],
    /,
    *,
    json: Json = False,
    figures: Annotated[
        Path | None, Parameter(help="Also write a PNG of each session into this folder.")
    ] = None,
) -> None:
    """Say what the sessions of a store look like: spread, depth, sizes, times, moves."""
    from mtsim.model.session_stats import measure
    from mtsim.model.store import MANIFEST, Store, open_session

    one = (store / MANIFEST).exists()
    sessions = [open_session(store)] if one else Store(store).sessions()
    measured = []
    with progress(f"Measuring {len(sessions)} sessions") as step:
        for session in sessions:
            step(str(session.key))
            found = measure(session)
            measured.append(found.as_json())
            if figures is not None:
                figures.mkdir(parents=True, exist_ok=True)
                file = figures / f"{'_'.join(session.key.folder().parts)}.png"
                found.draw(file)
                say(str(file))
    if json:
        print_json(measured)
        return
    print_table(
        (
            "session",
            "events",
            "trades",
            "spread ticks p50",
            "touch lots",
            "gap us p50",
            "moves/event",
            "moves/trade",
            "gaps",
            "quiet",
        ),
        [
            (
                row["session"],
                f"{row['events']:,}",
                f"{row['trades']:,}",
                or_dash(row["spread_ticks"]["p50"]),
                f"{row['depth_lots']['buy'][0]:g} / {row['depth_lots']['sell'][0]:g}",
                or_dash(row["gap_ns"]["p50"], 1e-3),
                or_dash(row["move_rate"]["per_event"]),
                or_dash(row["move_rate"]["per_trade"]),
                len(row["gaps"]),
                len(row["quiet"]),
            )
            for row in measured
        ],
    )


fetch = App(name="fetch", help="Fetch public archives.")
command.command(fetch)
command.command(prepare)
command.command(tokens)


@fetch.command
def binance(
    *,
    symbol: Annotated[str, Parameter(help="As BTCUSDT.")],
    month: Annotated[str | None, Parameter(help="A month, as 2024-08.")] = None,
    day: Annotated[str | None, Parameter(help="Or a day, as 2024-08-09.")] = None,
    kind: Annotated[Literal["trades", "aggTrades"], Parameter(help="What to fetch.")] = "trades",
    market: Annotated[
        Literal["spot", "um", "cm"], Parameter(help="Spot, USD-M or COIN-M futures.")
    ] = "spot",
    target: Annotated[Path, Parameter(help="The folder for the files.")] = Path(),
    base_url: Annotated[str | None, Parameter(help="Another address of the archive.")] = None,
) -> None:
    """Fetch a month or a day of Binance's public archive, resumed and proven by its checksum."""
    from mtsim.model.sources.fetch import ARCHIVE, fetch_binance

    if (month is None) == (day is None):
        raise UsageError("give --month or --day, one of them")
    with progress(f"Fetching {symbol}") as step:
        file = fetch_binance(
            symbol,
            month or day or "",
            kind,
            market,
            target,
            base_url=base_url or ARCHIVE,
            progress=lambda here, whole: step(
                f"{here / 1e6:,.1f} MB" + (f" of {whole / 1e6:,.1f} MB" if whole else "")
            ),
        )
    print(file)


@command.command(name="map")
def map_(
    file: Annotated[Path, Parameter(help="An order-by-order CSV or parquet file.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="Write it there, not to stdout.")
    ] = None,
    columns: Annotated[
        str | None,
        Parameter(help="The columns of a file without a header line, as time,id,price."),
    ] = None,
    delimiter: Annotated[str, Parameter(help="What separates the columns.")] = ",",
) -> None:
    """Propose a mapping of a file from its first rows, to be read and corrected.

    `mtsim data import mapped MAPPING FILE` then imports it.
    """
    from mtsim.model.sources.propose import propose

    if output is not None and output.exists():
        raise UsageError(f"{output} is there already: name another file, or take it away")
    header = None if columns is None else columns.split(",")
    text = propose(str(file), header=header, delimiter=delimiter)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
        say(f"wrote {output}; read it, then: mtsim data import mapped {output} {file} --store ...")


@command.command
def export(
    store: Annotated[Path, Parameter(help="The folder of the store, or of one session.")],
    /,
    *,
    target: Annotated[Path, Parameter(help="The folder for the files.")],
    format: Annotated[Literal["lobster"], Parameter(help="The form of the files.")] = "lobster",
    levels: Annotated[
        int | None, Parameter(help="Levels of the book; those of the feed, or 10, if not said.")
    ] = None,
    json: Json = False,
) -> None:
    """Write sessions of a store as LOBSTER message and order book files."""
    from mtsim.model.export import export_lobster
    from mtsim.model.store import MANIFEST, Store, open_session

    if levels is not None and levels < 1:
        raise UsageError(f"--levels: at least 1 is needed, got {levels}")
    one = (store / MANIFEST).exists()
    sessions = [open_session(store)] if one else Store(store).sessions()
    rows = []
    with progress(f"Exporting {len(sessions)} sessions") as step:
        for session in sessions:
            step(str(session.key))
            done = export_lobster(session, target, levels)
            rows.append((str(session.key), done.rows, str(done.messages), str(done.orderbook)))
    columns = ("session", "rows", "messages", "orderbook")
    if json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def _day(text: str | None) -> Date | None:
    if text is None:
        return None
    try:
        return Date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--date: a day as 2012-06-21 is needed, got {text!r}") from None


def _step(name: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        step = Decimal(text)
    except InvalidOperation:
        raise UsageError(f"{name}: a decimal as 0.01 is needed, got {text!r}") from None
    if not step.is_finite() or step <= 0:
        raise UsageError(f"{name}: more than zero is needed, got {text}")
    return step
