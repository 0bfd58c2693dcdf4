"""Hold a scenario against its twin: what its agent and its shocks moved, with an interval.

World and twin draw the same random numbers; in the twin, agent and shocks are muted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table, progress, say
from mtsim.cli.runs import parse_seeds
from mtsim.errors import UsageError
from mtsim.scenario import load
from mtsim.scenario.catalogue import find

_SHOWN = 13
_PARTICIPATION = 0.1


def command(
    scenario: Annotated[str, Parameter(help="A scenario file, or the name of a shipped one.")],
    /,
    *,
    seed: Annotated[int | None, Parameter(help="One seed.")] = None,
    seeds: Annotated[str | None, Parameter(help="Several, A to before B, as A:B: 0:16.")] = None,
    participation: Annotated[
        float | None,
        Parameter(
            help="Size of the parent order as a share of the volume expected in its time. Without "
            "it, what the scenario has; where that is neither agent nor shock, 0.1."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        Parameter(name="--set", help="A value laid over the scenario: path=value.", negative=""),
    ] = None,
    figure: Annotated[Path | None, Parameter(help="Also draw the curve as a PNG.")] = None,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """Hold a scenario against its twin."""
    if seed is not None and seeds is not None:
        raise UsageError("--seed is one and --seeds are several: give one of them")
    file, laid_over = find(scenario), overrides or []
    chosen = [seed] if seed is not None else parse_seeds(seeds or "0:16")
    own = load(file, laid_over, chosen[0]).scenario
    if participation is None and own.agent is None and not any(s.enabled for s in own.shocks):
        participation = _PARTICIPATION
    from mtsim.build.twins import overrides_for, study

    if participation is not None:
        laid_over = [*laid_over, *overrides_for(own, participation)]
    with progress(f"Worlds and twins of {own.name or 'the scenario'}") as step:
        impact, plan = study(
            lambda number: load(file, laid_over, number),
            chosen,
            parent_lots=0 if participation == 0 else None,
            progress=step,
        )
    found = {
        "scenario": own.name,
        "participation": participation,
        "parent_lots": None if plan.parent is None else plan.parent.lots,
        **impact.as_json(),
    }
    if json:
        print_json(found)
    else:
        _print(found)
    if figure is not None:
        impact.draw(figure)
        say(str(figure))


def _print(found: dict[str, Any]) -> None:
    times = found["time_s"]
    shown = sorted({len(times) * k // (_SHOWN - 1) - (k == _SHOWN - 1) for k in range(_SHOWN)})
    lows, highs = found["low_ticks"], found["high_ticks"]
    print_table(
        ("time", "impact, ticks", "95 % interval", "variance reduction"),
        [
            (
                f"{times[k]:,.0f} s",
                f"{found['impact_ticks'][k]:.2f}",
                "-" if lows is None else f"{lows[k]:.2f} to {highs[k]:.2f}",
                _factor(found["variance_reduction"][k]),
            )
            for k in shown
        ],
    )
    if found["parent_lots"] is not None:
        say(f"parent order: {found['parent_lots']:,} lots")
    if found["identical"]:
        say(f"world and twin are identical, bit by bit, for all of {len(found['seeds'])} seeds")
        return
    firsts = [first["time_s"] for first in found["first_divergence"] if first is not None]
    if firsts:
        say(f"first divergence of the flow: {min(firsts):,.3f} s to {max(firsts):,.3f} s")
    say(
        f"against independent seeds the variance is {_factor(found['variance_reduction_median'])} "
        "times smaller (median over time)"
    )


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
