"""How results look: tables or JSON on stdout, remarks on stderr; NO_COLOR is respected."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table


def print_json(value: Any) -> None:
    """One JSON document on stdout, keys in the order given; NaN is refused rather than written."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table on stdout, numbers to the right, as wide as the terminal where there is one."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    rows = [[str(cell) for cell in row] for row in rows]
    table = Table(
        title=title or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text is data: a bracket in it is no markup.
        table.add_row(*(_plain(cell) for cell in row))
    console.print(table)


def say(message: str) -> None:
    """A remark on stderr."""
    print(message, file=sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """A spinner with a changing text on a terminal, and one plain line elsewhere.

    Yields a function that takes the current step's text.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda step: status.update(f"{what}: {step}")
    else:
        say(what)
        yield lambda step: None


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").isdigit() or text in ("", "-")


def _plain(cell: str) -> Any:
    from rich.text import Text

    return Text(cell)
