"""Scripts on disk: a CSV file with a message in each row, for the scripted flow.

The header names the columns: `time_ns` (from the session's start), `kind`, and any other field of
MESSAGE_DTYPE, 0 where it is left out. `kind`, `side` and `tif` are words (limit, buy, ioc), the
rest are integers. An order without an `order_id` gets one that no opening uses; ids from 1 on are
those of the opening's orders.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mtsim.engine.messages import MESSAGE_DTYPE, Kind, SelfTrade, TimeInForce
from mtsim.engine.units import Side
from mtsim.errors import DataError
from mtsim.flow.base import FIRST_FLOW_ID

_WORDS = {"kind": Kind, "side": Side, "tif": TimeInForce, "stp": SelfTrade}
_COLUMNS = ("time_ns", *(MESSAGE_DTYPE.names or ()))


def read_script(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The times and the MESSAGE_DTYPE rows of a file.

    DataError naming the row that is no message.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, named = list(reader), reader.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(str(path), None, f"not a CSV file: {error}") from error
    if not {"time_ns", "kind"} <= set(named) or not set(named) <= set(_COLUMNS):
        raise DataError(
            str(path),
            1,
            f"the header must name time_ns, kind and others of {', '.join(_COLUMNS)}, got "
            f"{', '.join(named) or 'nothing'}",
        )
    time_ns, messages = np.zeros(len(rows), np.int64), np.zeros(len(rows), MESSAGE_DTYPE)
    messages["order_id"] = FIRST_FLOW_ID + np.arange(len(rows))
    for k, row in enumerate(rows):
        if None in row:
            raise DataError(str(path), k + 2, "more cells than the header has names")
        for name, text in row.items():
            if text in ("", None):
                continue
            value = _number(path, k + 2, name, text)
            if name == "time_ns":
                time_ns[k] = value
            else:
                messages[name][k] = value
    back = np.flatnonzero(np.diff(time_ns, prepend=0) < 0)
    if len(back):
        raise DataError(str(path), int(back[0]) + 2, "time_ns goes back")
    return time_ns, messages


def _number(path: Path, line: int, name: str, text: str) -> int:
    """What a cell says; its words or an integer that its field can hold."""
    words = _WORDS.get(name)
    if words is not None and text.upper() in words.__members__:
        return int(words[text.upper()])
    known = f" or one of {', '.join(words.__members__).lower()}" if words else ""
    limits = np.iinfo(np.int64 if name == "time_ns" else MESSAGE_DTYPE[name])
    try:
        value = int(text)
    except ValueError:
        raise DataError(
            str(path), line, f"{name} must be an integer{known}, got {text!r}"
        ) from None
    if not limits.min <= value <= limits.max:
        raise DataError(str(path), line, f"{name} must fit {limits.dtype}, got {value}")
    return value
