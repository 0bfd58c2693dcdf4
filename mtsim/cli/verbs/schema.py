"""Print the scenario schema: JSON Schema for editors, or the page of every key."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import print_json
from mtsim.scenario.reference import json_schema, markdown


def command(
    *,
    markdown_page: Annotated[
        bool, Parameter(name="--markdown", help="The page of every key instead.", negative="")
    ] = False,
) -> None:
    """Print the scenario schema as JSON Schema."""
    if markdown_page:
        sys.stdout.write(markdown())
    else:
        print_json(json_schema())
