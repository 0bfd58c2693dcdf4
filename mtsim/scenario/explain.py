"""What pydantic found wrong, said in our words at the place in the file where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from mtsim.errors import Problem
from mtsim.scenario.compose import DISCRIMINATORS
from mtsim.scenario.quantities import Random
from mtsim.scenario.schema import Scenario
from mtsim.scenario.section import Section
from mtsim.scenario.tree import Mark, Node, join

_SHOWN = 60
_COMPARISONS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "finite_number": "a finite number",
    "int_parsing_size": "a smaller number",
}


def explain(error: ValidationError, tree: Node) -> list[Problem]:
    """One problem for each error, in our words."""
    problems = []
    for details in error.errors(include_url=False):
        undrawn = isinstance(details["input"], Random)
        # A value that could not be drawn is reported by the draw; that no number came is its echo.
        if not undrawn or details["type"] in ("extra_forbidden", *_TAGS):
            problems.append(_problem(details, tree))
    return problems


def refusal(random: Random, reason: PydanticCustomError, tree: Node) -> Problem:
    """The problem of a random value whose distribution is wrong."""
    node = dict(tree.walk())[random.path]
    return node.mark.problem(random.path, reason.message())


_TAGS = ("union_tag_invalid", "union_tag_not_found")


def _problem(details: ErrorDetails, tree: Node) -> Problem:
    kind, location = details["type"], details["loc"]
    if kind == "missing":
        path, node, key_mark = _find(tree, location[:-1])
        mark = key_mark or node.mark
        return mark.problem(path, f"the key {str(location[-1])!r} is missing", _keys_hint(location))
    path, node, key_mark = _find(tree, location)
    if kind == "extra_forbidden":
        key = str(location[-1])
        known = [name for name, _ in _fields(_section(location[:-1]))]
        return (key_mark or node.mark).problem(
            path, f"unknown key {key!r}{_nearest(key, known)}", f"known keys: {', '.join(known)}"
        )
    if kind in _TAGS:
        return _tag_problem(details, path, node, key_mark)
    return node.mark.problem(path, _message(details))


def _tag_problem(details: ErrorDetails, path: str, node: Node, key_mark: Mark | None) -> Problem:
    context = details.get("ctx", {})
    name = str(context.get("discriminator", "")).strip("'")
    if details["type"] == "union_tag_not_found":
        message = f"the key {name!r} is missing, or is not text"
        known = sorted(_tags(_annotation(details["loc"])))
        return (key_mark or node.mark).problem(path, message, f"known: {', '.join(known)}")
    tag = node.value[name] if isinstance(node.value, dict) and name in node.value else node
    known = [option.strip(" '") for option in str(context["expected_tags"]).split(",")]
    got = str(context["tag"])
    message = f"unknown {name} {_short(got)}{_nearest(got, known)}"
    return tag.mark.problem(join(path, name), message, f"known: {', '.join(known)}")


def _message(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    got = f"got {_short(details['input'])}"
    if kind in _COMPARISONS:
        bound, words = _COMPARISONS[kind]
        return f"must be {words} {_plain(context[bound])}, {got}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, {got}"
    if kind == "literal_error":
        options = [
            option.strip(" '") for option in context["expected"].replace(" or ", ", ").split(",")
        ]
        nearest = _nearest(str(details["input"]), options)
        return f"must be one of {', '.join(options)}, {got}{nearest}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} items, {got}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} items"
    if kind in ("string_too_long", "string_too_short"):
        bound = context.get("max_length", context.get("min_length"))
        return f"must be {'at most' if 'long' in kind else 'at least'} {bound} characters long"
    if kind == "string_pattern_mismatch":
        return f"must consist of letters, digits, '_', '.' and '-', {got}"
    message = details["msg"]
    return message[0].lower() + message[1:]


def _find(tree: Node, location: tuple[int | str, ...]) -> tuple[str, Node, Mark | None]:
    """The path, the node and the key's mark of a pydantic location.

    A location also names the members of unions it went through, which stand nowhere in the file.
    """
    path, node, key_mark = "", tree, None
    for step in location:
        if isinstance(step, int) and isinstance(node.value, list) and step < len(node.value):
            path, node, key_mark = join(path, step), node.value[step], None
        elif isinstance(node.value, dict) and step in node.value:
            path, key_mark, node = join(path, step), node.keys[str(step)], node.value[step]
    return path, node, key_mark


def _short(value: Any) -> str:
    if isinstance(value, Random):
        return str(value)
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _plain(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:64], known, n=1, cutoff=0.6)
    return f". Did you mean {close[0]!r}?" if close else ""


def _keys_hint(location: tuple[int | str, ...]) -> str:
    fields = _fields(_section(location[:-1]))
    required = [name for name, is_required in fields if is_required]
    return f"required keys: {', '.join(required)}" if required else ""


def _fields(section: type[Section]) -> list[tuple[str, bool]]:
    return [(info.alias or name, info.is_required()) for name, info in section.model_fields.items()]


def _section(location: tuple[int | str, ...]) -> type[Section]:
    """The section that a location lies in."""
    return next(_members(_annotation(location)), Scenario)


def _annotation(location: tuple[int | str, ...]) -> Any:
    """The annotation at a location, narrowed by the union members that the location names."""
    here: Any = Scenario
    for step in location:
        members = list(_members(here))
        if isinstance(step, int):
            here = tuple(members) if members else here
            continue
        tagged = [member for member in members if step in _tags(member)]
        if tagged and (len(members) > 1 or not _has_field(members, step)):
            here = tagged[0]
            continue
        for member in members:
            for name, info in member.model_fields.items():
                if (info.alias or name) == step:
                    here = info.annotation
    return here


def _has_field(members: list[type[Section]], key: str) -> bool:
    return any(key == name for member in members for name, _ in _fields(member))


def _members(annotation: Any) -> Iterator[type[Section]]:
    """Every section that an annotation can hold."""
    if isinstance(annotation, tuple):
        for item in annotation:
            yield from _members(item)
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _members(argument)


def _tags(annotation: Any) -> set[str]:
    tags: set[str] = set()
    for member in _members(annotation):
        fields: Mapping[str, Any] = member.model_fields
        for name in DISCRIMINATORS:
            if name in fields and get_origin(fields[name].annotation) is Literal:
                tags.update(get_args(fields[name].annotation))
    return tags
