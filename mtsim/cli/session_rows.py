"""What the commands of `mtsim data` show of sessions: rows of a table, JSON, progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtsim.errors import DataError

if TYPE_CHECKING:
    from mtsim.model.ingest import Imported
    from mtsim.model.store import StoredSession

_SHOWN_EVERY_S = 0.5

COLUMNS = ("read", "events", "dropped", "repaired", "noticed", "checks", "book agreement")


def cells(stored: StoredSession | None) -> tuple[object, ...]:
    """What a table says of a session: counts, checks, and how often the book was the feed's."""
    if stored is None:
        return ("-",) * len(COLUMNS)
    manifest = stored.manifest
    counts = manifest["counts"]
    return (
        f"{counts['read']:,}",
        f"{manifest['events']['executed']:,}",
        _reasons(counts["dropped"]),
        _reasons(counts["repaired"]),
        _reasons(counts["noticed"]),
        _checks(manifest["checks"]),
        _agreement(manifest["agreement"]),
    )


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in reasons.items()) or "-"


def _checks(checks: list[dict[str, Any]]) -> str:
    levels = [check["level"] for check in checks]
    said = [f"{levels.count('ok')} of {len(levels) - levels.count('none')} passed"]
    for level in ("error", "warning"):
        names = [check["check"] for check in checks if check["level"] == level]
        said += [f"{level}: {', '.join(names)}"] if names else []
    return "; ".join(said)


def _agreement(agreement: dict[str, int]) -> str:
    if not agreement["snapshots"]:
        return "no snapshots"
    touch = f"touch {agreement['touch_equal']:,} of {agreement['snapshots']:,}"
    return (
        f"{touch}, {agreement['levels']} levels {agreement['equal']:,} of {agreement['compared']:,}"
    )


def name_of(one: Imported) -> str:
    """The session, or the files of one that has no name because it has nothing."""
    return _names(one) if one.key is None else str(one.key)


def passed_over(one: Imported) -> tuple[str, str]:
    """The files of what was passed over, and why."""
    error = one.error
    assert error is not None, "nothing is passed over without a reason"
    return _names(one), error.rule if isinstance(error, DataError) else str(error)


def _names(one: Imported) -> str:
    return ", ".join(Path(file).name for file in one.files)


def imported_json(one: Imported) -> dict[str, Any]:
    """What became of a session; `why` it was passed over, or the `error` it was refused for."""
    left, error = one.status == "passed over", one.error
    row: dict[str, Any] = {
        "session": None if one.key is None else str(one.key),
        "files": [Path(file).name for file in one.files],
        "status": one.status,
        "why": passed_over(one)[1] if left else None,
        "error": None if error is None or left else f"{type(error).__name__}: {error}",
    }
    if one.stored is not None:
        wanted = ("counts", "events", "gaps", "checks", "agreement")
        row |= {name: one.stored.manifest[name] for name in wanted}
    return row


def shown_progress(step: Callable[[str], None]) -> Callable[[Any, Any], None]:
    """A progress callback that shows rows, rows a second and the time that is left."""
    from mtsim.model.sources.files import share_read

    start = time.monotonic()
    shown = start

    def show(session: Any, counts: Any) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < _SHOWN_EVERY_S:
            return
        shown = now
        seconds = now - start
        share = share_read(session.files)
        left = f", {seconds / share - seconds:,.0f} s left" if share else ""
        symbol = session.instrument.symbol
        step(f"{symbol} {session.date}: {counts.read:,} rows, {counts.read / seconds:,.0f}/s{left}")

    return show


def or_dash(value: float | None, scale: float = 1) -> str:
    """A number to six digits, or a dash for none."""
    return "-" if value is None else f"{value * scale:,.6g}"
