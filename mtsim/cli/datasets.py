"""`mtsim data prepare` and `mtsim data tokens`: a store into a data set, and what it is like."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table, progress, say

Json = Annotated[bool, Parameter(help="Print as JSON.", negative="")]

_SHOWN_EVERY_S = 0.5
_BAR = 24


def prepare(
    store: Annotated[Path, Parameter(help="The folder of the store.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder for the data set; it must not be there.")],
    schema: Annotated[
        Literal["book", "tradefm", "trades", "trades-579"],
        Parameter(help="How actions are spelled."),
    ] = "book",
    split: Annotated[
        Path | None,
        Parameter(help="A YAML file that says what is trained on; see `model/split.py`."),
    ] = None,
    bins: Annotated[
        str, Parameter(help="Other numbers of bins than the schema's, as lots=12,gap=16.")
    ] = "",
    sessions: Annotated[
        str | None,
        Parameter(help="Only these: a symbol, or a pattern as 'NASDAQ AMZN 2012-*'."),
    ] = None,
    quiet_s: Annotated[
        float, Parameter(help="A silence longer than this ends a stretch; 0: none does.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Prepare a data set: features and tokens of a store's sessions, split for training.

    The tokenizer sees the training parts alone. Just the same data set is passed over.
    """
    from mtsim.errors import UsageError
    from mtsim.model.prepare import Wishes
    from mtsim.model.prepare import prepare as prepare_dataset
    from mtsim.model.schemas import bins_from_text, schema_named
    from mtsim.model.split import Part, Split, load
    from mtsim.model.store import Store

    if not 0 <= quiet_s <= 86_400:
        raise UsageError(f"--quiet-s: from 0 to a day of 86400 seconds, got {quiet_s:g}")
    wishes = Wishes(
        schema_named(schema, bins_from_text(bins)),
        Split() if split is None else load(split),
        sessions,
        quiet_ns=round(quiet_s * 1e9),
    )
    with progress(f"Preparing {out}") as step:
        done = prepare_dataset(Store(store), out, wishes, shown(step))
    manifest = done.dataset.manifest
    parts = [name for part in Part if (name := part.name.lower()) in manifest["parts"]]
    if json:
        wanted = ("identity", "tokenizer_sha256", "vocabulary", "positions", "token_dtype")
        print_json(
            {
                "dataset": str(out),
                "status": "prepared" if done.fresh else "present",
                "schema": manifest["schema"]["name"],
                **{name: manifest[name] for name in wanted},
                "bytes": sum(file["bytes"] for file in manifest["files"].values()),
                "parts": {part: manifest["parts"][part] for part in parts},
                "sessions": manifest["sessions"],
                "left_out": manifest["left_out"],
            }
        )
        return
    print_table(
        ("session", "actions", "tier", *parts, "dropped", "no action"),
        [
            (
                session["session"],
                f"{session['actions']:,}",
                session["liquidity_tier"],
                *(_positions(session["parts"].get(part)) for part in parts),
                _reasons(session["dropped"]),
                _reasons(session["silent"]),
            )
            for session in manifest["sessions"]
        ],
        title="Positions by part",
    )
    print_table(
        ("part", "sessions", "symbols", "actions", "positions", "edited"),
        [
            (
                part,
                total["sessions"],
                total["symbols"],
                f"{total['actions']:,}",
                f"{total['positions']:,}",
                f"{100 * total['edit_rate']:.4f} %",
            )
            for part, total in ((part, manifest["parts"][part]) for part in parts)
        ],
    )
    short = [session["session"] for session in manifest["sessions"] if session["too_short"]]
    if short:
        say(f"too short to be divided, and of no part: {', '.join(short)}")
    said = f"{manifest['schema']['name']}, {manifest['vocabulary']:,} tokens"
    say(f"{out}: {said}" if done.fresh else f"{out}: {said}; just this was there already")


def tokens(
    dataset: Annotated[Path, Parameter(help="The folder of a data set.")],
    /,
    *,
    json: Json = False,
    figure: Annotated[
        Path | None, Parameter(help="Also write the bins and their counts as a PNG.")
    ] = None,
) -> None:
    """Say what the tokens of a data set are like: vocabulary, entropy, bins, commonest events."""
    from mtsim.model.dataset import Dataset
    from mtsim.model.token_report import report

    found = report(Dataset.open(dataset))
    if figure is not None:
        found.draw(figure)
        say(str(figure))
    value = found.as_json()
    if json:
        print_json(value)
        return
    _print_report(value)


def _print_report(value: dict[str, Any]) -> None:
    print_table(
        ("schema", "vocabulary", "realised", "of combinations", "unreachable codes"),
        [
            (
                value["schema"],
                f"{value['vocabulary']:,}",
                f"{value['realised']:,}",
                f"{value['combinations']:,}",
                _unreachable(value["unreachable_codes"]),
            )
        ],
    )
    print_table(
        ("part", "sessions", "symbols", "events", "tokens", "nats", "effective", "edited"),
        [
            (
                part,
                found["sessions"],
                found["symbols"],
                f"{found['events']:,}",
                f"{found['tokens_used']:,}",
                f"{found['entropy_nats']:.3f}",
                f"{found['effective_vocabulary']:,.1f}",
                f"{100 * found['edit_rate']:.4f} %",
            )
            for part, found in value["parts"].items()
        ],
    )
    print_table(
        ("bins of", "asked", "realised", "clipped"),
        [
            (line, bins["asked"], bins["realised"], f"{100 * value['clip_rates'][line]:.3f} %")
            for line, bins in value["bins"].items()
        ],
    )
    for field, codes in value["fields"].items():
        print_table(
            (field, "share", "count"),
            [
                (code["words"], f"{100 * code['share']:.3f} %", f"{code['count']:,}")
                for code in codes
                if code["count"]
            ],
        )
    print_table(
        ("commonest events", "share", "count"),
        [
            (event["words"], f"{100 * event['share']:.3f} %", f"{event['count']:,}")
            for event in value["commonest"]
        ],
    )


def shown(step: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """A progress callback that shows a bar, the events so far, and how many come in a second."""
    start = time.monotonic()
    last = 0.0

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SHOWN_EVERY_S:
            return
        last = now
        filled = _BAR * done // max(1, total)
        bar = "#" * filled + "." * (_BAR - filled)
        step(f"{what} {bar} {done:,} of {total:,} events, {now - start:,.0f} s")

    return show


def _positions(part: dict[str, Any] | None) -> str:
    return "-" if part is None else f"{part['positions']:,}"


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {reason.lower()}" for reason, n in reasons.items()) or "-"


def _unreachable(codes: dict[str, list[int]]) -> str:
    return ", ".join(f"{len(n):,} of {field}" for field, n in codes.items() if n) or "none"
