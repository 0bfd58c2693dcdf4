"""The frame of the command line: finds the verbs, runs one, turns errors into exit codes.

A verb is one file in `mtsim/cli/verbs`, found by its name and imported only when it runs, so that
`--help` and the light commands stay fast. Nothing here knows what a verb does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from mtsim import __version__
from mtsim.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, MtsimError

VERBS = Path(__file__).parent / "verbs"

_HELP = (
    "A closed-loop market simulator: a learned order flow, a deterministic matching engine.\n\n"
    "Results go to stdout, everything else to stderr. Exit codes: 0 ok, 1 run failed, 2 usage or "
    "bad scenario, 3 missing extra, file or device, 4 integrity, 5 gate not met, 130 interrupted."
)


def app() -> App:
    """The whole command tree; no verb is imported."""
    frame = App(
        name="mtsim",
        help=_HELP,
        version=__version__,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    for file in sorted(VERBS.glob("[!_]*.py")):
        target = f"mtsim.cli.verbs.{file.stem}:command"
        frame.command(target, name=file.stem.replace("_", "-"), help=_summary(file))
    frame.register_install_completion_command(add_to_startup=False)
    return frame


def _summary(file: Path) -> str:
    with file.open(encoding="utf-8") as text:
        return text.readline().strip().strip('"')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """As `main`, but returns the exit code."""
    try:
        code = app()(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        message = " ".join(str(error).split())
        _complain(
            f"UsageError: {message}", "`mtsim --help` and `mtsim VERB --help` say what there is."
        )
        return EXIT_USAGE
    except MtsimError as error:
        _complain(f"{type(error).__name__}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        # A full disk, a folder without permission: the file and the reason are all there is to say.
        _complain(f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    return code if isinstance(code, int) else EXIT_OK


def _complain(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)
