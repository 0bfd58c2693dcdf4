"""Worlds and their twins, seed by seed: what the agent and the shocks of a scenario moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mtsim.build.plan import Plan
from mtsim.build.simulation import TWIN, WORLD, Simulation
from mtsim.engine.units import Side
from mtsim.errors import UsageError
from mtsim.evaluation.impact import Impact, Pair
from mtsim.scenario import Resolved, Scenario
from mtsim.scenario.task import ExecutionTask


def overrides_for(scenario: Scenario, participation: float) -> list[str]:
    """What makes of a scenario one with a parent order of this share of the expected volume.

    Its own agent works it where it has one for an execution task, else a twap does, from the
    warm-up on.
    """
    if not 0 <= participation <= 1:
        raise UsageError(f"participation is a share from 0 to 1, got {participation}")
    # A scenario has no order of no lots: `study` is told so.
    size = f"quantity_fraction: {participation!r}" if participation else "quantity: 1"
    other = "quantity" if participation else "quantity_fraction"
    if scenario.agent is not None and isinstance(scenario.task, ExecutionTask):
        return [f"task={{{other}: null, {size}}}"]
    return ["agent={policy: twap}", f"task={{kind: execution, {size}}}"]


def study(
    resolve: Callable[[int], Resolved],
    seeds: Sequence[int],
    *,
    parent_lots: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Impact, Plan]:
    """Run world and twin of every seed; the impact, and the plan of the last seed.

    `resolve` gives the scenario of a seed. The grid is the scenario's `evaluation.sample`, from
    when the first thing happens that the twin does not see.
    """
    if not seeds:
        raise UsageError("twins need at least one seed")
    plan, pairs, time_ns = None, [], np.zeros(0, np.int64)
    for number, seed in enumerate(seeds):
        if progress is not None:
            progress(f"seed {seed} ({number + 1} of {len(seeds)})")
        plan = Plan.of(resolve(seed), parent_lots)
        tape = plan.new_tape(books=2)
        simulation = Simulation.begin(plan, tape, has_twin=True)
        simulation.advance(plan.duration_ns)
        if not len(time_ns):
            time_ns = _grid(plan)
        pairs.append(Pair.of(seed, tape.stream(WORLD), tape.stream(TWIN), time_ns))
    assert plan is not None
    sign = -1 if plan.parent is not None and plan.parent.side == Side.SELL else 1
    resamples = plan.scenario.evaluation.bootstrap
    return Impact(time_ns, tuple(pairs), sign, resamples), plan


def _grid(plan: Plan) -> np.ndarray:
    starts = [at.value for at in (i.at for i in plan.interventions) if at.kind == "time"]
    if plan.parent is not None:
        starts.append(plan.parent.start_ns)
    first_ns = min(starts, default=plan.scenario.session.warmup_ns)
    first_ns = min(first_ns, plan.duration_ns)
    every_ns = max(1, plan.scenario.evaluation.sample_ns)
    return np.arange(first_ns, plan.duration_ns + 1, every_ns, dtype=np.int64)
