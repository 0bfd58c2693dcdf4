"""The schema told to editors (JSON Schema) and to people (`scenarios/README.md`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mtsim.scenario.compose import DISCRIMINATORS
from mtsim.scenario.quantities import NANOSECONDS, format_clock, format_duration
from mtsim.scenario.schema import Scenario

_RANDOM = {
    "title": "Random",
    "description": "A value drawn from the run's own stream.",
    "oneOf": [
        {
            "type": "object",
            "properties": {kind: {"type": "array", "minItems": least, "maxItems": most}},
            "required": [kind],
            "additionalProperties": False,
        }
        for kind, least, most in (("uniform", 2, 2), ("lognormal", 2, 2), ("choice", 1, 1000))
    ],
}
_DRAWABLE = ("number", "integer")
_WRITERS = {"duration": format_duration, "time of day": format_clock}

_INTRODUCTION = """\
# Scenarios: every key

A scenario is one YAML file. This page is generated from the schema by `mtsim schema --markdown`;
`mtsim schema` prints the same as JSON Schema for editors, and `mtsim init` writes a commented file
to start from.

- An unknown key is an error with file, line, column and nearest known key; all errors at once.
- `extends: base.yaml` lays this file over another one in the same folder. Mappings merge key by
  key, lists are replaced whole, and a mapping that names another `kind`, `type` or `policy`
  replaces the one below.
- `--set path=value` lays one value over everything, as in `--set shocks[0].fraction=0.5`.
- A **duration** is a number with its unit ({units}). A **moment** is a duration from the start, a
  number of events (`5000ev`) or a condition (`spread>4t`, `mid_move>10t`, `bid_depth<50l`,
  `ask_depth<50l`; t are ticks, l are lots; `mid_move` is the mid's distance from the start of the
  run, either way).
- Any number or duration may be drawn instead: `{{uniform: [a, b]}}`,
  `{{lognormal: [median, sigma]}}` or `{{choice: [a, b, ...]}}`; the draw depends on the seed and
  the path of the value alone. Every end and every option is checked, not only the one drawn. A
  **population** stays a distribution: each member draws from it.
- No tags, no merge keys, at most 64 KiB, 16 levels deep, 10,000 values, 32 aliases.

"""


def json_schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors; every number may also be a random value."""
    schema = _schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "mtsim scenario"
    schema["properties"] = {
        "extends": {
            "type": "string",
            "description": "A file in the same folder to lay this one over.",
        },
        **schema["properties"],
    }
    definitions = schema.setdefault("$defs", {})
    for section in (schema, *definitions.values()):
        for name, entry in section.get("properties", {}).items():
            if name != "seed":
                section["properties"][name] = _allow_random(entry)
    definitions["Random"] = _RANDOM
    return schema


def _schema() -> dict[str, Any]:
    schema = Scenario.model_json_schema(by_alias=True)
    for section in (schema, *schema["$defs"].values()):
        for entry in section.get("properties", {}).values():
            # pydantic gives defaults as the code has them; a file writes them as text.
            write = _WRITERS.get(entry.get("format", ""))
            if write is not None and isinstance(entry.get("default"), int):
                entry["default"] = write(entry["default"])
    return schema


def _allow_random(entry: dict[str, Any]) -> dict[str, Any]:
    drawable = entry.get("type") in _DRAWABLE or entry.get("format") in ("duration", "moment")
    if drawable:
        outer = {key: entry[key] for key in ("description", "default", "title") if key in entry}
        inner = {key: value for key, value in entry.items() if key not in outer}
        return {**outer, "anyOf": [inner, {"$ref": "#/$defs/Random"}]}
    if "anyOf" in entry:
        options = [
            _allow_random(option) if "type" in option else option for option in entry["anyOf"]
        ]
        flat = [item for option in options for item in option.get("anyOf", [option])]
        return {**entry, "anyOf": flat}
    return entry


def markdown() -> str:
    """The page `scenarios/README.md`: every key with its type, unit, default and meaning."""
    schema = _schema()
    lines = [_INTRODUCTION.format(units=", ".join(f"`{unit}`" for unit in NANOSECONDS))]
    titles: dict[str, str] = {}
    for name in _sections(schema, schema, titles):
        section = schema["$defs"][name]
        lines += ["", f"## {titles[name]}", "", section.get("description", ""), ""]
        lines += _table(section, titles)
    top = ["## Top level", "", schema["description"], "", *_table(schema, titles)]
    lines[1:1] = top
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _sections(
    section: dict[str, Any], schema: dict[str, Any], titles: dict[str, str]
) -> Iterator[str]:
    """Names of the sections below one, in the order its keys reach them; fills `titles`."""
    below = [
        (key, name)
        for key, entry in section.get("properties", {}).items()
        for name in _references(entry)
    ]
    # All titles first: a table links to sections that come later.
    new = [name for _, name in below if name not in titles]
    for key, name in below:
        titles.setdefault(name, _title(key, schema["$defs"][name]))
    for name in dict.fromkeys(new):
        nested = list(_sections(schema["$defs"][name], schema, titles))
        yield name
        yield from nested


def _references(entry: Any) -> Iterator[str]:
    if isinstance(entry, dict):
        if "$ref" in entry:
            yield entry["$ref"].rsplit("/", 1)[1]
        for key, value in entry.items():
            if key != "discriminator":
                yield from _references(value)
    elif isinstance(entry, list):
        for item in entry:
            yield from _references(item)


def _title(key: str, section: dict[str, Any]) -> str:
    """A section is called by its key, and one of several by its tag: `flow: hawkes`."""
    properties = section.get("properties", {})
    for tag in DISCRIMINATORS:
        constant = properties.get(tag, {}).get("const")
        if constant:
            return f"{key.removesuffix('s')}: {constant}"
    return key


def _table(section: dict[str, Any], titles: dict[str, str]) -> list[str]:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    required = section.get("required", [])
    for name, entry in section.get("properties", {}).items():
        default = "required" if name in required else _default(entry)
        meaning = entry.get("description", "")
        rows.append(f"| `{name}` | {_type(entry, titles)} | {default} | {meaning} |")
    return rows


def _default(entry: dict[str, Any]) -> str:
    if "default" not in entry:
        return "see there"
    value = entry["default"]
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return f"`{value}`" if value != "" else "empty"


def _type(entry: dict[str, Any], titles: dict[str, str]) -> str:
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return " \\| ".join(f"`{option}`" for option in entry["enum"])
    if entry.get("format"):
        return entry["format"]
    options = entry.get("anyOf") or entry.get("oneOf")
    if options:
        kinds = dict.fromkeys(
            _type(option, titles) for option in options if option.get("type") != "null"
        )
        return " \\| ".join(kinds)
    if "$ref" in entry:
        title = titles[entry["$ref"].rsplit("/", 1)[1]]
        slug = title.replace(":", "").replace(" ", "-")
        return f"[{title.rpartition(': ')[2]}](#{slug})"
    if entry.get("type") == "array":
        items = entry.get("items") or (entry.get("prefixItems") or [{}])[0]
        return f"list of {_type(items, titles)}"
    return _number(entry)


def _number(entry: dict[str, Any]) -> str:
    names = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
    }
    name = names[entry["type"]]
    unit = f" of {entry['unit']}" if "unit" in entry else ""
    low, high = entry.get("minimum"), entry.get("maximum")
    above, below = entry.get("exclusiveMinimum"), entry.get("exclusiveMaximum")
    bounds = []
    if above is not None or low is not None:
        bounds.append(f"> {above:g}" if above is not None else f"≥ {low:g}")
    # Bounds that only keep integers from overflowing tell a reader nothing.
    if below is not None or (high is not None and high < 1e9):
        bounds.append(f"< {below:g}" if below is not None else f"≤ {high:g}")
    return f"{name}{unit}{', ' + ', '.join(bounds) if bounds else ''}"
