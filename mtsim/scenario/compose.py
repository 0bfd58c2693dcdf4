"""Several layers of a scenario made one tree: a file, what it extends, and `--set` overrides.

A later layer wins value by value; a list replaces a list; a mapping that names another kind, type
or policy than the one below replaces it whole, since the keys of one kind mean nothing to another.
Knows no schema beyond these three names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mtsim.errors import Problem, ScenarioError
from mtsim.scenario.tree import MAX_BYTES, Mark, Node, join, parse, parse_value

MAX_EXTENDS = 8
DISCRIMINATORS = ("kind", "type", "policy")

_STEP = re.compile(r"(?:\.|^)(?P<key>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>\d{1,6})\]")


def read(path: Path) -> tuple[Node, list[Problem]]:
    """The tree of a file with everything that it extends merged below it."""
    return _read(path, path, ())


def _read(path: Path, shown: Path, above: tuple[Path, ...]) -> tuple[Node, list[Problem]]:
    real = path.resolve()
    try:
        # One byte more than the limit is enough to know that it is exceeded.
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ScenarioError([Problem(str(shown), 0, 0, "", f"cannot be read: {reason}")]) from None
    tree, problems = parse(data, str(shown))
    extends = tree.value.pop("extends", None)
    if extends is None:
        return tree, problems
    base = _base(extends, real, (*above, real))
    below, more = _read(base, shown.parent / extends.value, (*above, real))
    return merge(below, tree), problems + more


def _base(extends: Node, real: Path, seen: tuple[Path, ...]) -> Path:
    def refuse(message: str) -> ScenarioError:
        return ScenarioError([extends.mark.problem("extends", message)])

    name = extends.value
    if not isinstance(name, str) or not name:
        raise refuse("must be the name of a file beside this one")
    base = (real.parent / name).resolve()
    if Path(name).is_absolute() or not base.is_relative_to(real.parent):
        raise refuse(f"{name!r} lies outside the folder of this file")
    if not base.is_file():
        raise refuse(f"there is no file {name!r} beside this one")
    if base in seen:
        raise refuse(f"{name!r} extends this file itself")
    if len(seen) > MAX_EXTENDS:
        raise refuse(f"more than {MAX_EXTENDS} files extend one another")
    return base


def merge(below: Node, above: Node) -> Node:
    """`above` laid over `below`; every value keeps the mark of where it was written."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    for name in DISCRIMINATORS:
        lower, upper = below.value.get(name), above.value.get(name)
        if lower is not None and upper is not None and lower.value != upper.value:
            return above
    merged = Node(dict(below.value), above.mark, keys={**below.keys, **above.keys})
    for key, child in above.value.items():
        lower = below.value.get(key)
        merged.value[key] = child if lower is None else merge(lower, child)
    return merged


def override(tree: Node, arguments: Iterable[str]) -> tuple[Node, list[Problem]]:
    """The tree with each `path=value` laid over it, in order; the value is YAML."""
    problems: list[Problem] = []
    for argument in arguments:
        origin = f"--set {argument}"
        path, equals, text = argument.partition("=")
        steps = _steps(path)
        mark = Mark(origin, 0, 0, 1, "")
        if not equals or steps is None:
            message = "must look like path=value, as in --set shocks[0].fraction=0.5"
            problems.append(mark.problem("", message))
            continue
        try:
            value, more = parse_value(text if text.strip() else "null", origin)
        except ScenarioError as error:
            problems.extend(_at_argument(problem, path) for problem in error.problems)
            continue
        problems.extend(_at_argument(problem, path) for problem in more)
        _place_at(value, mark)
        try:
            tree = _with(tree, steps, value, mark, "")
        except ScenarioError as error:
            problems.extend(error.problems)
    return tree, problems


def _at_argument(problem: Problem, path: str) -> Problem:
    return Problem(problem.file, 0, 0, path, problem.message, problem.hint)


def _place_at(node: Node, mark: Mark) -> None:
    for _, child in node.walk():
        child.mark = mark
        child.keys = dict.fromkeys(child.keys, mark)


def _steps(path: str) -> list[str | int] | None:
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(path):
        if match.start() != end:
            return None
        end = match.end()
        steps.append(match["key"] if match["key"] is not None else int(match["index"]))
    return steps if steps and end == len(path) else None


def _with(tree: Node, steps: list[str | int], value: Node, mark: Mark, path: str) -> Node:
    if not steps:
        return value if not isinstance(value.value, dict) else merge(tree, value)
    step, rest = steps[0], steps[1:]
    here = join(path, step)
    if isinstance(step, int):
        if not isinstance(tree.value, list) or step >= len(tree.value):
            have = len(tree.value) if isinstance(tree.value, list) else 0
            message = f"there is no item {step}: {path or 'the scenario'} has {have}"
            raise ScenarioError([mark.problem(here, message)])
        items = list(tree.value)
        items[step] = _with(items[step], rest, value, mark, here)
        return Node(items, tree.mark)
    # A null or absent section springs into being; any other scalar is replaced the same way.
    entries = dict(tree.value) if isinstance(tree.value, dict) else {}
    below = entries.get(step, Node({} if rest else None, mark))
    entries[step] = _with(below, rest, value, mark, here)
    keys = {**tree.keys, step: tree.keys.get(step, mark)}
    return Node(entries, tree.mark, keys=keys)
