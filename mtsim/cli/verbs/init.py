"""Write a commented scenario to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import say
from mtsim.errors import UsageError

TEMPLATE = """\
# A scenario of mtsim: one file that defines a run. `mtsim validate` checks it, `mtsim show`
# resolves it, and scenarios/README.md lists every key. Everything left out has a default.
description: Buy a thousand lots in ten minutes while liquidity thins out.
seed: 0

instrument:
  symbol: SYN
  tick_size: 0.01
  lot_size: 1

session:
  open: "09:30:00"
  duration: 15min
  warmup: 60s               # no metric counts it, no agent sees it

# Where background messages come from: `mtsim ls flows`.
flow:
  kind: zero_intelligence
  add_rate: 0.5             # limit orders per second at each tick
  market_rate: 2.0
  cancel_rate: 0.05
  size: {lognormal: [5, 0.8]}   # a population: each order draws its own size

opening:
  kind: synthetic
  mid_tick: 10000
  levels: 20

# Who trades, and what it is asked to do: `mtsim ls agents`, `mtsim ls tasks`.
agent: {policy: twap, slices: 20}
task:
  kind: execution
  side: buy
  quantity: 1000
  start: 60s
  horizon: 10min

# Any number may be drawn from the run's own stream instead.
latency:
  median: {uniform: [100us, 400us]}
  sigma: 0.3

# Scheduled interventions: `mtsim ls shocks`. `enabled: false` keeps one without effect.
shocks:
  - name: thin_bids
    type: mass_cancel
    at: 300s                # or a number of events (5000ev), or a condition (spread>4t)
    side: bid
    levels: 5
    fraction: 0.8

evaluation:
  twin: true                # the same world, agent and shocks muted, beside it
"""


def command(
    path: Annotated[Path, Parameter(help="Where to write it.")] = Path("scenario.yaml"),
    /,
    *,
    force: Annotated[bool, Parameter(help="Replace a file that is there.", negative="")] = False,
) -> None:
    """Write a commented scenario to start from."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise UsageError(f"{path} is there already. --force replaces it.") from None
    print(path)
    say(f"Next: mtsim validate {path}")
