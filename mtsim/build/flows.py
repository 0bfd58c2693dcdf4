"""The flow that a scenario names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from mtsim.build.files import beside
from mtsim.build.refusal import not_yet, refused
from mtsim.build.script_file import read_script
from mtsim.errors import UsageError
from mtsim.flow import fit_zero_intelligence, hawkes_built_in, queue_reactive
from mtsim.flow.base import Flow
from mtsim.flow.fitted import read_fitted
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.queue_reactive import QueueReactive
from mtsim.flow.scripted import Scripted
from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence
from mtsim.scenario import Resolved
from mtsim.scenario.flows import (
    HawkesFlow,
    QueueReactiveFlow,
    ScriptedFlow,
    ZeroIntelligenceFlow,
)
from mtsim.scenario.quantities import Distribution

BUILT_IN_LEVELS = 5
FLOWS_THAT_RUN = "zero_intelligence, hawkes, queue_reactive, scripted"


def flow_of(resolved: Resolved, first_tick: int) -> Flow:
    """Where background messages come from; `first_tick` is the first bid of the opening."""
    section = resolved.scenario.flow
    if isinstance(section, ZeroIntelligenceFlow):
        return _zero_intelligence(resolved, section, first_tick)
    if isinstance(section, HawkesFlow):
        return _hawkes(resolved, section, first_tick)
    if isinstance(section, QueueReactiveFlow):
        return _queue_reactive(resolved, section, first_tick)
    if isinstance(section, ScriptedFlow):
        return Scripted([read_script(beside(resolved, "flow.messages", section.messages))])
    raise not_yet(resolved, "flow.kind", f"a flow of kind {section.kind!r}", FLOWS_THAT_RUN)


@cache
def sizes_of(population: Distribution) -> Sizes:
    """A distribution of sizes as a table of lots, each value rounded to the nearest."""
    if population.kind == "constant":
        return Sizes.constant(max(1, round(population.args[0])))
    if population.kind == "choice":
        lots = np.maximum(1, np.rint(population.args)).astype(np.int64)
        return Sizes.empirical(*np.unique(lots, return_counts=True))
    return Sizes.of_quantiles(population.quantile)


def _zero_intelligence(
    resolved: Resolved, section: ZeroIntelligenceFlow, first_tick: int
) -> ZeroIntelligence:
    if section.fitted is not None:
        path = beside(resolved, "flow.fitted", section.fitted)
        return read_fitted(
            path,
            section.kind,
            lambda value: fit_zero_intelligence.from_json(value, first_tick=first_tick),
        )
    return ZeroIntelligence(
        section.add_rate,
        section.market_rate,
        section.cancel_rate,
        section.depth,
        _or_refused(resolved, "flow.size", lambda: sizes_of(section.size)),
        first_tick=first_tick,
    )


def _hawkes(resolved: Resolved, section: HawkesFlow, first_tick: int) -> Hawkes:
    if section.fitted is None:
        market = hawkes_built_in.built_in(first_tick)
    else:
        path = beside(resolved, "flow.fitted", section.fitted)
        market = read_fitted(
            path, section.kind, lambda value: Hawkes.from_json(value, first_tick=first_tick)
        )
    intensity, branching = section.intensity, section.branching
    return _or_refused(
        resolved,
        "flow.branching",
        lambda: market.rescaled(intensity=intensity, branching=branching),
    )


def _queue_reactive(
    resolved: Resolved, section: QueueReactiveFlow, first_tick: int
) -> QueueReactive:
    if section.fitted is None:
        return queue_reactive.built_in(first_tick, levels=section.levels or BUILT_IN_LEVELS)
    path = beside(resolved, "flow.fitted", section.fitted)
    market = read_fitted(
        path, section.kind, lambda value: QueueReactive.from_json(value, first_tick=first_tick)
    )
    wanted = section.levels
    if wanted is None:
        return market
    return _or_refused(resolved, "flow.levels", lambda: market.with_levels(wanted))


def _or_refused(resolved: Resolved, path: str, make: Callable):
    try:
        return make()
    except UsageError as error:
        raise refused(resolved, path, str(error)) from error
