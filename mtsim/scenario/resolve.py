"""From text to a `Scenario`: layers composed, random values drawn, everything wrong said at once.

The only way in: `load` a file, or `loads` text or a mapping. What comes back also knows where each
value came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtsim.errors import Problem, ScenarioError
from mtsim.scenario import compose
from mtsim.scenario.explain import explain, refusal
from mtsim.scenario.quantities import Random, draw
from mtsim.scenario.schema import Scenario
from mtsim.scenario.section import DrawContext
from mtsim.scenario.tree import Node, join, parse

DISTRIBUTIONS = ("uniform", "lognormal", "choice")
_HIGHEST_UNIT = 1.0 - 2.0**-53


@dataclass(frozen=True)
class Resolved:
    """A scenario with the tree it was read from and the random values that were drawn for it."""

    scenario: Scenario
    tree: Node
    draws: Mapping[str, Random] = field(default_factory=dict)

    def origins(self) -> dict[str, str]:
        """Where each value was written, by path; one that is not here is a default."""
        return {path: str(node.mark) for path, node in self.tree.walk()}


def load(path: str | Path, overrides: Iterable[str] = (), seed: int | None = None) -> Resolved:
    """The scenario of a file, with `overrides` (`path=value`) and a `seed` laid over it.

    Raises ScenarioError with every problem, sorted by place.
    """
    path = Path(path)
    tree, problems = compose.read(path)
    return _resolve(tree, problems, overrides, seed, path.stem)


def loads(
    text: str | bytes | Mapping[str, Any], overrides: Iterable[str] = (), seed: int | None = None
) -> Resolved:
    """As `load`, for YAML text or a plain mapping. It cannot extend a file."""
    if isinstance(text, Mapping):
        # JSON is YAML, so a mapping goes the same way as a file and is refused in the same words.
        text = json.dumps(text, indent=1)
    tree, problems = parse(text, "<text>")
    if "extends" in tree.value:
        mark = tree.keys["extends"]
        raise ScenarioError([mark.problem("extends", "only a file can extend a file")])
    return _resolve(tree, problems, overrides, seed, None)


def _resolve(
    tree: Node,
    problems: list[Problem],
    overrides: Iterable[str],
    seed: int | None,
    name: str | None,
) -> Resolved:
    extra = [f"seed={seed}"] if seed is not None else []
    tree, more = compose.override(tree, [*overrides, *extra])
    problems = problems + more
    draws: dict[str, Random] = {}
    raw = _raw(tree, "", draws, problems)
    raw.setdefault("name", _clean(name))
    if isinstance(raw.get("seed"), Random):
        problems.append(tree.value["seed"].mark.problem("seed", "the seed itself is never drawn"))
        del raw["seed"], draws["seed"]
    scenario = None
    probes = _probes(draws)
    for turn, chooser in enumerate((*probes, _drawer(raw.get("seed")))):
        if problems and turn == len(probes) > 0:
            break  # What the ends of an interval show, a draw between them would say again.
        context = DrawContext(chooser)
        try:
            scenario = Scenario.model_validate(raw, context=context)
        except ValidationError as error:
            problems += explain(error, tree)
        problems += [refusal(random, reason, tree) for random, reason in context.refused]
    if problems:
        raise ScenarioError(sorted(set(problems)))
    assert scenario is not None
    return Resolved(scenario, tree, draws)


def _clean(name: str | None) -> str | None:
    if name is None:
        return None
    kept = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in name)
    kept = kept.encode("ascii", "ignore").decode().lstrip("_.-")
    return kept[:64] or None


def _raw(node: Node, path: str, draws: dict[str, Random], problems: list[Problem]) -> Any:
    if isinstance(node.value, list):
        items = enumerate(node.value)
        return tuple(_raw(child, join(path, i), draws, problems) for i, child in items)
    if not isinstance(node.value, dict):
        return node.value
    if len(node.value) == 1:
        kind, child = next(iter(node.value.items()))
        if kind in DISTRIBUTIONS:
            if not isinstance(child.value, list) or any(
                isinstance(item.value, list | dict) for item in child.value
            ):
                problems.append(child.mark.problem(path, f"{kind} takes a list of values"))
            args = (
                tuple(item.value for item in child.value) if isinstance(child.value, list) else ()
            )
            draws[path] = Random(kind, args, path)
            return draws[path]
    entries = node.value.items()
    return {key: _raw(child, join(path, key), draws, problems) for key, child in entries}


def _probes(draws: Mapping[str, Random]) -> list[Callable[[Random, str], Any]]:
    """Choosers that visit both ends of every interval and every option of every choice.

    A random value is right when all that it can become is: no unlucky seed finds the mistake.
    """
    if not draws:
        return []
    options = max(
        (len(random.args) for random in draws.values() if random.kind == "choice"), default=1
    )

    def probe(turn: int) -> Callable[[Random, str], Any]:
        def choose(random: Random, kind: str) -> Any:
            if random.kind == "choice":
                count = max(1, len(random.args))
                return draw(random, kind, (turn % count + 0.5) / count)
            if random.kind == "lognormal":
                return draw(random, kind, 0.5)
            return draw(random, kind, (0.0, _HIGHEST_UNIT)[turn % 2])

        return choose

    return [probe(turn) for turn in range(max(2, min(options, 64)))]


def _drawer(seed: Any) -> Callable[[Random, str], Any]:
    """Draws each random value from a stream named after its path, so one more changes no other.

    A seed that is none is refused by the schema; until then the default one serves.
    """

    def choose(random: Random, kind: str) -> Any:
        # Only a scenario that draws needs NumPy.
        from mtsim.streams import MAX_SEED, Stream

        valid = isinstance(seed, int) and 0 <= seed <= MAX_SEED
        stream = Stream(seed if valid else 0, f"scenario/{random.path}")
        return draw(random, kind, float(stream.unit(0)))

    return choose
