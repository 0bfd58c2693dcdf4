"""Every error that mtsim raises on purpose, with the exit code the command line gives it.

    MtsimError                   1  a run failed
    ├── UsageError               2  the command line was used in a way it does not have
    ├── ScenarioError            2  a scenario breaks its schema; carries every problem found
    ├── EngineError              1  the matching engine cannot go on
    │   └── EngineInputError     2  what was handed to the engine are not messages
    ├── TapeError                1  a tape cannot be written or read
    ├── StoreError               1  a store cannot be written: full disk, permission, another import
    ├── MissingError             3  an extra, a file or a device is not there
    └── IntegrityError           4  a stored artefact is not what its manifest says
        └── DataError            4  market data breaks a rule of its own format or of a market

A message says where, what, the rule, what was found and the way out. What a market refuses is
never an error: it is a `Reject` in the result. What we got wrong ourselves is an AssertionError.
Anything else that escapes is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_INTEGRITY = 4
EXIT_GATE = 5
EXIT_INTERRUPTED = 130

_EXCERPT = 100


class MtsimError(Exception):
    """The root: `except MtsimError` catches everything a user can mend, and nothing else."""

    exit_code = EXIT_FAILED


class UsageError(MtsimError):
    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a scenario: where it stands, what breaks which rule, and the way out.

    `line` and `column` count from 1; `line` 0 means the file as a whole. `excerpt` is the line
    itself, so that a caret can point into it.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    excerpt: str = ""
    width: int = 1

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def text(self) -> str:
        """The problem as the terminal shows it: one line, the excerpt with a caret, the hint."""
        head = ": ".join(part for part in (self.where, self.path, self.message) if part)
        lines = [head]
        if self.excerpt:
            # A file may be one long line: show the part around the caret.
            first = max(0, self.column - 1 - _EXCERPT // 2) if len(self.excerpt) > _EXCERPT else 0
            shown = self.excerpt[first : first + _EXCERPT].replace("\t", " ")
            start = self.column - 1 - first
            caret = " " * start + "^" * max(1, min(self.width, len(shown) - start))
            lines += [f"{self.line:>5} | {shown}", f"{'':>5} | {caret}"]
        if self.hint:
            lines.append(f"      = {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | int]:
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }


class ScenarioError(MtsimError):
    """A scenario that breaks its schema, with all its `problems` in the order of the file."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.text() for problem in self.problems))


class EngineError(MtsimError):
    pass


class EngineInputError(EngineError):
    exit_code = EXIT_USAGE


class TapeError(MtsimError):
    pass


class StoreError(MtsimError):
    pass


class MissingError(MtsimError):
    """Something outside the program is absent: `what` it is, and the line that brings it."""

    exit_code = EXIT_MISSING

    def __init__(self, what: str, install: str):
        self.what = what
        self.install = install
        super().__init__(f"{what}. {install}")


class IntegrityError(MtsimError):
    exit_code = EXIT_INTEGRITY


class DataError(IntegrityError):
    """Market data that cannot be right: which `file`, which `row` (or byte), and which rule."""

    def __init__(self, file: str, row: int | None, rule: str, hint: str = ""):
        self.file = file
        self.row = row
        self.rule = rule
        where = file if row is None else f"{file}:{row}"
        super().__init__(f"{where}: {rule}{f'. {hint}' if hint else ''}")
