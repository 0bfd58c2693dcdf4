"""Fitted flows as files: sealed JSON that says its kind, its parameters and where they are from.

A scenario names one by `fitted:`. The file holds no path and no time of day, so equal fits give
equal files.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mtsim.engine.sealed import sealed, sync_folder, unsealed
from mtsim.errors import IntegrityError, UsageError

FORMAT = "mtsim-fitted-flow"
VERSION = 1

T = TypeVar("T")


def write_fitted(path: Path, kind: str, parameters: dict[str, Any], source: dict[str, Any]) -> None:
    """Write the parameters of a flow of this `kind`, as scenarios call it, whole or not at all.

    `source` says what they were fitted to.
    """
    value = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "parameters": parameters,
        "source": source,
    }
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(sealed(value))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.absolute().parent)


def read_fitted(path: Path, kind: str, make: Callable[[dict[str, Any]], T]) -> T:
    """What `make` makes of the parameters of a file: a flow's `from_json`.

    UsageError where it is of another kind; IntegrityError where it is damaged, or of another
    version.
    """
    value = unsealed(path, "the parameters of a fitted flow")
    found = (value.get("format"), value.get("version"))
    if found != (FORMAT, VERSION):
        raise IntegrityError(
            f"{path}: (format, version) are {found}; this mtsim reads {(FORMAT, VERSION)}. "
            "Fit the flow again."
        )
    if value.get("kind") != kind:
        raise UsageError(
            f"{path}: the parameters of a flow of kind {value.get('kind')!r}, {kind!r} was asked "
            "for. Name a file of `mtsim fit` for that kind."
        )
    try:
        return make(value["parameters"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path}: no parameters of a flow of kind {kind!r}: {error}"
        ) from error
