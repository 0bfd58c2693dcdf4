"""Runs a scenario to its end in a folder, or goes on where the folder says it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mtsim.build.outcome import outcome_of
from mtsim.build.plan import Plan, code_digest
from mtsim.build.run_store import RunWriter
from mtsim.build.simulation import Simulation
from mtsim.errors import UsageError
from mtsim.scenario import Resolved
from mtsim.scenario.dump import dump

# The parts in which the progress of a run is told.
_PARTS = 200


class Done(NamedTuple):
    """What a run came to, and whether this call ran it, went on with it, or found it finished."""

    status: Literal["ran", "resumed", "present"]
    outcome: dict[str, Any]
    events_run: int
    """Of them, those that this call executed."""
    by_other_code: bool = False
    """Whether what is present was run by another version of the code, which may differ."""


def execute(
    resolved: Resolved,
    folder: Path | str,
    *,
    checkpoint_ns: int,
    paranoid: bool = False,
    progress: Callable[[Simulation], None] | None = None,
) -> Done:
    """Run a scenario into `folder`. What happened until a multiple of `checkpoint_ns` survives.

    Calling it again with the same arguments goes on; the outcome does not depend on how often.
    `paranoid` raises AssertionError at the first message that does not conserve lots and cash.
    """
    if checkpoint_ns < 1:
        raise UsageError(f"checkpoints must be at least 1 ns apart, got {checkpoint_ns}")
    plan = Plan.of(resolved)
    with RunWriter(folder, plan, dump(resolved, origins=False)) as writer:
        if (finished := writer.finished()) is not None:
            by_other_code = finished.run["code_sha256"] != code_digest()
            return Done("present", finished.outcome, 0, by_other_code)
        simulation = writer.start(paranoid=paranoid)
        is_new, before = simulation.now_ns == 0, int(simulation.n_events.sum())
        part_ns = max(1, plan.duration_ns // _PARTS)
        while not simulation.is_over:
            due_ns = (simulation.now_ns // checkpoint_ns + 1) * checkpoint_ns
            until_ns = min(due_ns, simulation.now_ns + part_ns)
            simulation.advance(until_ns)
            if progress is not None:
                progress(simulation)
            if until_ns == due_ns and not simulation.is_over:
                writer.checkpoint(simulation)
        outcome = outcome_of(simulation)
        writer.finish(simulation, outcome)
    events_run = int(simulation.n_events.sum()) - before
    return Done("ran" if is_new else "resumed", outcome, events_run)
