"""Scenarios: strict YAML files that define a run, and everything wrong with one in its place."""

from mtsim.scenario.resolve import Resolved, load, loads
from mtsim.scenario.schema import Scenario

__all__ = ["Resolved", "Scenario", "load", "loads"]
