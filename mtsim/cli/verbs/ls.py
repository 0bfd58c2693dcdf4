"""List shipped scenarios, or the flows, openings, agents, tasks and shocks to choose from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table
from mtsim.scenario import load
from mtsim.scenario.catalogue import shipped
from mtsim.scenario.compose import DISCRIMINATORS
from mtsim.scenario.flows import Flow, Opening
from mtsim.scenario.shocks import AnyShock
from mtsim.scenario.task import Agent, Task

_UNIONS: dict[str, Any] = {
    "flows": Flow,
    "openings": Opening,
    "agents": Agent,
    "tasks": Task,
    "shocks": AnyShock,
}


def command(
    what: Literal["scenarios", "flows", "openings", "agents", "tasks", "shocks"] = "scenarios",
    /,
    *,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """List what there is."""
    rows = _scenarios() if what == "scenarios" else _members(_UNIONS[what])
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def _scenarios() -> list[dict[str, str]]:
    rows = []
    for file in shipped():
        scenario = load(file).scenario
        rows.append(
            {
                "scenario": file.stem,
                "flow": scenario.flow.kind,
                "agent": scenario.agent.policy if scenario.agent else "-",
                "shocks": ", ".join(shock.type for shock in scenario.shocks) or "-",
                "shows": " ".join(scenario.description.split()),
            }
        )
    return rows


def _members(union: Any) -> list[dict[str, str]]:
    rows = []
    for section in get_args(get_args(union)[0]):
        fields = section.model_fields
        tag = next(name for name in DISCRIMINATORS if name in fields)
        keys = [info.alias or name for name, info in fields.items() if name != tag]
        rows.append(
            {
                tag: get_args(fields[tag].annotation)[0],
                "what": (section.__doc__ or "").strip().splitlines()[0],
                "keys": ", ".join(keys),
            }
        )
    return rows
