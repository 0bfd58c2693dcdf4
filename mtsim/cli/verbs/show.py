"""Show a scenario resolved: every value, and where it came from.

What `extends`, `--set`, the seed and the defaults make of a file, as a scenario again.
"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import print_json
from mtsim.scenario import load
from mtsim.scenario.catalogue import find
from mtsim.scenario.dump import dump


def command(
    scenario: Annotated[str, Parameter(help="A scenario file, or the name of a shipped one.")],
    /,
    *,
    overrides: Annotated[
        list[str] | None,
        Parameter(name="--set", help="A value laid over it: path=value.", negative=""),
    ] = None,
    seed: Annotated[int | None, Parameter(help="Seed laid over the file's own.")] = None,
    json: Annotated[bool, Parameter(help="Print as JSON, without origins.", negative="")] = False,
) -> None:
    """Show a scenario resolved."""
    resolved = load(find(scenario), overrides or [], seed)
    if json:
        print_json(resolved.scenario.model_dump(mode="json", by_alias=True))
    else:
        sys.stdout.write(dump(resolved))
