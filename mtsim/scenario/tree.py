"""YAML text as a tree that remembers where every key and value was written.

Knows YAML 1.2 syntax and the limits a scenario must keep (size, depth, aliases, no tags); knows no
schema. Syntax is ruamel.yaml's; the tree is built from its events in one pass, so that a limit is
met before the memory it guards is spent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from mtsim.errors import Problem, ScenarioError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_NODES = 10_000
MAX_ALIASES = 32
MAX_SCALAR = 4_096
MAX_DIGITS = 64

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something was written: a file's line and column from 1, or a `--set` argument."""

    file: str
    line: int
    column: int
    width: int
    excerpt: str

    def problem(self, path: str, message: str, hint: str = "") -> Problem:
        return Problem(
            self.file, self.line, self.column, path, message, hint, self.excerpt, self.width
        )

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(slots=True)
class Node:
    """A scalar, a list of nodes or a mapping of entries, and where it begins."""

    value: Any
    mark: Mark
    size: int = 1
    keys: dict[str, Mark] = field(default_factory=dict)

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """This node and all below it with their paths, as in `shocks[0].fraction`."""
        yield path, self
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.walk(join(path, key))
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield from child.walk(join(path, index))


def join(path: str, step: str | int) -> str:
    """The path of a child: `a` and `b` give `a.b`, `a` and 0 give `a[0]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def parse(data: bytes | str, file: str) -> tuple[Node, list[Problem]]:
    """The tree of a document whose top is a mapping, and problems that do not hide the rest of it.

    Raises ScenarioError for what does: text that is no UTF-8 or no YAML, a tag, a limit exceeded.
    """
    node, problems = parse_value(data, file)
    if not isinstance(node.value, dict):
        raise ScenarioError([node.mark.problem("", "a scenario is a mapping of keys to values")])
    return node, problems


def parse_value(data: bytes | str, file: str) -> tuple[Node, list[Problem]]:
    """As `parse`, for a document of any kind."""
    text = _decode(data, file)
    builder = _Builder(file, _lines(text))
    try:
        return builder.build(text), builder.problems
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "not YAML"
        raise ScenarioError([builder.mark(mark).problem("", f"not valid YAML: {what}")]) from None
    except (YAMLError, ValueError) as error:
        # ReaderError has no mark; ValueError comes from numbers no float or int can hold.
        what = " ".join(str(error).split())
        raise ScenarioError([Problem(file, 1, 1, "", f"not valid YAML: {what}")]) from None


def _decode(data: bytes | str, file: str) -> str:
    size = len(data)
    if size > MAX_BYTES:
        what = f"the file has {size} bytes, the limit is {MAX_BYTES}"
        raise ScenarioError([Problem(file, 1, 1, "", what)])
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
            what = f"byte 0x{data[error.start]:02x} is not UTF-8"
            raise ScenarioError([Problem(file, line, column, "", what)]) from None
    else:
        text = data
    for number, line in enumerate(_lines(text), 1):
        for column, character in enumerate(line, 1):
            if not character.isprintable() and character != "\t":
                # What is invisible, or changes the order of what is shown, deceives a reader.
                what = f"the character U+{ord(character):04X} is not printable"
                raise ScenarioError([Problem(file, number, column, "", what)])
    return text


def _lines(text: str) -> list[str]:
    # Not str.splitlines: it also splits at separators that YAML 1.2 does not count as line breaks.
    return re.split("\r\n|\n|\r", text)


class _Builder:
    """Turns ruamel's events into a tree, one pass, with its limits."""

    def __init__(self, file: str, lines: list[str]):
        self.file = file
        self.lines = lines
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node] = {}
        self._aliases = 0
        self._nodes = 0

    def build(self, text: str) -> Node:
        yaml = YAML(typ="safe", pure=True)
        self._resolver, self._constructor = yaml.resolver, yaml.constructor
        self._events = iter(yaml.parse(text))
        root: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self._refuse(event, "a scenario is one document, here a second one begins")
                root = self._node(next(self._events), "", 1)
        if root is None:
            raise ScenarioError([Problem(self.file, 1, 1, "", "the file is empty")])
        return root

    def mark(self, start: Any, end: Any = None) -> Mark:
        """The place of a ruamel mark; a value that spans lines is underlined at its first."""
        if start is None:
            return Mark(self.file, 1, 1, 1, "")
        line, column = start.line + 1, start.column + 1
        excerpt = self.lines[start.line] if start.line < len(self.lines) else ""
        width = end.column - start.column if end is not None and end.line == start.line else 1
        return Mark(self.file, line, column, max(1, width), excerpt)

    def _refuse(self, event: Event, message: str, path: str = "") -> None:
        mark = self.mark(event.start_mark, event.end_mark)
        raise ScenarioError([mark.problem(path, message)])

    def _node(self, event: Event, path: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels", path)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if (tag := getattr(event, "tag", None)) is not None:
            self._refuse(event, f"a scenario is plain data, the tag {tag} is refused", path)
        mark = self.mark(event.start_mark, event.end_mark)
        if isinstance(event, ScalarEvent):
            node = Node(self._scalar(event, path), mark)
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(mark, path, depth)
        else:
            assert isinstance(event, MappingStartEvent)
            node = self._mapping(mark, path, depth)
        self._count(1, event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, mark: Mark, path: str, depth: int) -> Node:
        node = Node([], mark)
        for event in self._events:
            if event.__class__.__name__ == "SequenceEndEvent":
                break
            child = self._node(event, join(path, len(node.value)), depth + 1)
            node.value.append(child)
            node.size += child.size
        return node

    def _mapping(self, mark: Mark, path: str, depth: int) -> Node:
        node = Node({}, mark)
        for event in self._events:
            if event.__class__.__name__ == "MappingEndEvent":
                break
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                self._refuse(event, "a key must be plain text", path)
            key, key_mark = event.value, self.mark(event.start_mark, event.end_mark)
            if len(key) > MAX_SCALAR:
                self._refuse(event, f"a key longer than {MAX_SCALAR} characters", path)
            child = self._node(next(self._events), join(path, key), depth + 1)
            if key in node.value:
                first = node.keys[key].line
                message = f"the key {key!r} is given twice, first in line {first}"
                self.problems.append(key_mark.problem(join(path, key), message))
                continue
            node.keys[key] = key_mark
            node.value[key] = child
            node.size += child.size
        return node

    def _alias(self, event: AliasEvent, path: str) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._refuse(event, f"more than {MAX_ALIASES} aliases", path)
        if event.anchor not in self._anchors:
            message = f"the alias *{event.anchor} names no anchor that is complete before it"
            self._refuse(event, message, path)
        node = self._anchors[event.anchor]
        self._count(node.size, event, path)
        return node

    def _count(self, nodes: int, event: Event, path: str) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES} values", path)

    def _scalar(self, event: ScalarEvent, path: str) -> Any:
        text = event.value
        if len(text) > MAX_SCALAR:
            self._refuse(event, f"a value longer than {MAX_SCALAR} characters", path)
        if not event.implicit[0]:
            return text
        tag = str(self._resolver.resolve(ScalarNode, text, event.implicit))
        if tag not in _PLAIN_TAGS:  # A timestamp, a merge key: text here, a schema decides.
            return text
        if tag.endswith((":int", ":float")) and len(text) > MAX_DIGITS:
            self._refuse(event, f"a number of more than {MAX_DIGITS} characters", path)
        return self._constructor.construct_object(ScalarNode(tag, text))
