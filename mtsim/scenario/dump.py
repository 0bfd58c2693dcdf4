"""A resolved scenario written back as YAML, each value with where it came from."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from mtsim.scenario.resolve import Resolved
from mtsim.scenario.tree import join

_COMMENT_COLUMN = 44


def dump(resolved: Resolved, *, origins: bool = True) -> str:
    """YAML that `loads` reads back to the same scenario, every value spelled out.

    With `origins` each line ends in a comment: the file and line, the `--set` argument, `default`,
    or what the value was drawn from.
    """
    written = resolved.origins() if origins else None
    plain = resolved.scenario.model_dump(mode="json", by_alias=True)
    tree = _commented(plain, "", written, resolved)
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 10_000
    yaml.representer.add_representer(type(None), _null)
    text = io.StringIO()
    yaml.dump(tree, text)
    return text.getvalue()


def _null(representer: Any, _value: None) -> Any:
    # The round-trip writer leaves nulls blank, which reads like something was forgotten.
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _commented(value: Any, path: str, written: dict[str, str] | None, resolved: Resolved) -> Any:
    if isinstance(value, dict):
        mapping = CommentedMap()
        for key, child in value.items():
            here = join(path, key)
            mapping[key] = _commented(child, here, written, resolved)
            if written is not None and not isinstance(child, dict) and not _has_sections(child):
                comment = _origin(here, written, resolved)
                mapping.yaml_add_eol_comment(comment, key, column=_COMMENT_COLUMN)
        return mapping
    if isinstance(value, list):
        items = [_commented(item, join(path, i), written, resolved) for i, item in enumerate(value)]
        sequence = CommentedSeq(items)
        if not _has_sections(value):
            sequence.fa.set_flow_style()
        return sequence
    return value


def _has_sections(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _origin(path: str, written: dict[str, str], resolved: Resolved) -> str:
    if path not in written:
        return "file name" if path == "name" and resolved.scenario.name else "default"
    if path in resolved.draws:
        return f"drawn from {resolved.draws[path]}, {written[path]}"
    return written[path]
