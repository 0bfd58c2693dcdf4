"""What is wrong with a mapping, in words, at the place in its file, with the nearest right key.

Knows pydantic's errors and the tree that a YAML file was read into; knows no key of a mapping.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from mtsim.errors import Problem
from mtsim.scenario.tree import Mark, Node, join

_KINDS = {
    "string_type": "text (in quotes, if it looks like a number)",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
}


def problem_of(details: Any, tree: Node, root: type[BaseModel]) -> Problem:
    kind, location = details["type"], details["loc"]
    if kind == "missing":
        path, node, mark = _find(tree, location[:-1])
        message = f"the key {location[-1]!r} is missing"
        return (mark or node.mark).problem(
            path, message, _known(root, location[:-1], required=True)
        )
    path, node, mark = _find(tree, location)
    if kind == "extra_forbidden":
        key = str(location[-1])
        message = f"unknown key {key!r}{_nearest(key, _keys(root, location[:-1]))}"
        return (mark or node.mark).problem(path, message, _known(root, location[:-1]))
    if kind in _KINDS:
        return node.mark.problem(path, f"must be {_KINDS[kind]}, got {_short(details['input'])}")
    if kind == "literal_error":
        options = [str(option) for option in _options(root, location)]
        said = str(details["input"])
        message = f"must be one of {', '.join(options)}, got {said!r}{_nearest(said, options)}"
        return node.mark.problem(path, message)
    if kind == "value_error":
        return node.mark.problem(path, str(details["ctx"]["error"]))
    message = details["msg"]
    return node.mark.problem(path, message[0].lower() + message[1:])


def _find(tree: Node, location: tuple[int | str, ...]) -> tuple[str, Node, Mark | None]:
    path, node, mark = "", tree, None
    for step in location:
        if isinstance(step, int) and isinstance(node.value, list) and step < len(node.value):
            path, node, mark = join(path, step), node.value[step], None
        elif isinstance(node.value, dict) and step in node.value:
            path, mark, node = join(path, step), node.keys[str(step)], node.value[step]
    return path, node, mark


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def _part(root: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    here = root
    for step in location:
        for name, info in here.model_fields.items():
            if step in (name, info.alias):
                here = next(_parts(info.annotation), here)
                break
    return here


def _keys(
    root: type[BaseModel], location: tuple[int | str, ...], required: bool = False
) -> list[str]:
    fields = _part(root, location).model_fields.items()
    return [info.alias or name for name, info in fields if not required or info.is_required()]


def _known(root: type[BaseModel], location: tuple[int | str, ...], required: bool = False) -> str:
    return (
        f"{'required' if required else 'known'} keys: {', '.join(_keys(root, location, required))}"
    )


def _options(root: type[BaseModel], location: tuple[int | str, ...]) -> tuple[Any, ...]:
    annotation = _part(root, location[:-1]).model_fields[str(location[-1])].annotation
    return get_args(annotation)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:64], known, n=1, cutoff=0.6)
    return f". Did you mean {close[0]!r}?" if close else ""


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if value is None:
        return "nothing"
    return repr(value)[:60]
