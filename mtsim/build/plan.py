"""A plan: everything about a run that is decided before it begins."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mtsim.build.files import digests_of
from mtsim.build.flows import flow_of
from mtsim.build.market import fees_of, latency_of, opening_of, require_rules_that_run
from mtsim.build.moments import Intervention, interventions_of
from mtsim.build.parent import Parent, parent_of
from mtsim.engine.sealed import canonical_json
from mtsim.engine.tape import Tape
from mtsim.flow.base import Flow
from mtsim.scenario import Resolved, Scenario
from mtsim.world.account import FeeSchedule
from mtsim.world.latency import Latency

_PACKAGE = Path(__file__).parents[1]
_CODE = ("streams*.py", "engine/*.py", "flow/*.py", "world/*.py", "build/*.py")


@dataclass(frozen=True, eq=False)
class Plan:
    """Make it with `Plan.of`."""

    scenario: Scenario
    flow: Flow
    opening: np.ndarray
    fees: FeeSchedule
    latency: Latency
    parent: Parent | None
    interventions: tuple[Intervention, ...]
    files: dict[str, str]
    """What the scenario names beside itself, and its SHA-256."""

    @classmethod
    def of(cls, resolved: Resolved, parent_lots: int | None = None) -> Plan:
        """The plan of a scenario; `parent_lots` replaces the size of its parent order, and may be
        0. ScenarioError at the place of whatever does not run yet."""
        require_rules_that_run(resolved)
        scenario = resolved.scenario
        opening = opening_of(resolved)
        flow = flow_of(resolved, first_tick=int(opening["price_tick"][0]))
        has_agent = scenario.agent is not None
        return cls(
            scenario=scenario,
            flow=flow,
            opening=opening,
            fees=fees_of(resolved),
            latency=latency_of(resolved),
            parent=parent_of(resolved, flow, opening, parent_lots) if has_agent else None,
            interventions=interventions_of(resolved),
            files=digests_of(resolved),
        )

    @property
    def seed(self) -> int:
        return self.scenario.seed

    @property
    def duration_ns(self) -> int:
        return self.scenario.session.duration_ns

    def new_tape(self, books: int = 1) -> Tape:
        """An empty tape that says what is going to be on it."""
        return Tape(seeds={"seed": self.seed}, config=self.config(), books=books)

    def config(self) -> dict[str, Any]:
        """What decides the run beside the code, as JSON values without a path."""
        scenario = self.scenario.model_dump(mode="json", by_alias=True)
        parent_lots = None if self.parent is None else self.parent.lots
        return {"scenario": scenario, "files": self.files, "parent_lots": parent_lots}

    def digest(self) -> str:
        """SHA-256 of `config`."""
        return hashlib.sha256(canonical_json(self.config())).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 over the sources that decide what a plan becomes."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _CODE for path in _PACKAGE.glob(pattern)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {content}\n".encode())
    return digest.hexdigest()
