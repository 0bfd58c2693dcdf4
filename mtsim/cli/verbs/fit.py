"""Fit a flow to a stored session: zero-intelligence, Hawkes or queue-reactive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from mtsim.cli.console import print_json, print_table, progress, say

command = App(name="fit", help="Fit a flow to a stored session.")

Session = Annotated[
    str, Parameter(help="The folder of a stored session, or STORE/SYMBOL/DATE where that is one.")
]
Out = Annotated[Path | None, Parameter(help="Write the parameters, for `fitted:` in scenarios.")]
Seed = Annotated[int, Parameter(help="Of the simulated sessions.")]
Json = Annotated[bool, Parameter(help="Print as JSON.", negative="")]


@command.command
def zi(session: Session, /, *, out: Out = None, seed: Seed = 0, json: Json = False) -> None:
    """Zero intelligence: rates of additions at each tick, market orders, and cancels."""
    _fit("zero_intelligence", session, out, json, seed=seed)


@command.command
def hawkes(
    session: Session,
    /,
    *,
    out: Out = None,
    decays: Annotated[
        str | None, Parameter(help="Of the kernels, per second: 10000,300,10,0.3.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Hawkes: base rates, kernels, sizes and distances of twelve types of order events.

    Prints the branching ratio and the time-rescaling test: where the model is right, what its
    intensities add up to between events is exponential. Rates are those of simulated sessions,
    other than the ones that they were matched on.
    """
    more = {} if decays is None else {"decays": _numbers(decays)}
    _fit("hawkes", session, out, json, seed=seed, **more)


@command.command
def queue_reactive(
    session: Session,
    /,
    *,
    out: Out = None,
    levels: Annotated[
        int | None, Parameter(help="Of each side; by default as many as hold the best prices.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Queue-reactive: rates of each level by the lots that rest there."""
    _fit("queue_reactive", session, out, json, seed=seed, levels=levels)


def _fit(kind: Any, session: str, out: Path | None, json: bool, **more: Any) -> None:
    from mtsim.build.fits import fit_session
    from mtsim.build.stored import find_session
    from mtsim.flow.fitted import write_fitted

    stored = find_session(session)
    with progress(f"Fitting {kind} to {stored.key}") as step:
        fit = fit_session(kind, stored, progress=step, **more)
    if out is not None:
        write_fitted(out, fit.kind, fit.parameters, fit.source)
        say(str(out))
    rates = [{**row._asdict(), "ratio": row.ratio} for row in fit.rates]
    if json:
        print_json({"kind": fit.kind, **fit.source, **fit.summary, "rates_per_s": rates})
        return
    print_table(
        ("parameter", "value"),
        [(name, _shown(value)) for name, value in fit.summary.items()],
        title=f"{fit.kind}, {fit.source['session']}: {fit.source['events']:,} events in "
        f"{fit.source['seconds']:,.0f} s",
    )
    print_table(
        ("event", "real per s", "simulated per s", "ratio"),
        [
            (
                row.event,
                f"{row.real:.4f}",
                f"{row.simulated:.4f}",
                "-" if row.ratio is None else f"{row.ratio:.3f}",
            )
            for row in fit.rates
        ],
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _numbers(text: str) -> tuple[float, ...]:
    from mtsim.errors import UsageError

    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise UsageError(
            f"--decays: numbers as in 10000,300,10,0.3 are needed, got {text}"
        ) from None
