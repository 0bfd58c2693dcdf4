"""Submissions: the orders that a simulator sent to its exchange, as a CSV of six columns.

    ns_after_midnight,event,order_id,size,price,side

LIMIT, MARKET, CANCEL and MODIFY rows, prices in 1e-4, side 1 or -1; a MARKET row has no price. The
file says what was asked, not what came of it: what crosses trades by price-time priority, and
cancels of orders that have traded are counted. A MODIFY row has the size before the change, as the
rows that follow it show, so the new size is not known: it is counted and left out. Everything else
is the mapping `submissions.yaml`.

The log that the same simulator writes of what its exchange processed (`processed_orders`) is not
read: partial cancels are missing in it, so that no book can be kept from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mtsim.model.sources.base import Options, Source
from mtsim.model.sources.mapped import MappedSource
from mtsim.model.sources.mapping import shipped

_SYMBOL = re.compile(r"([A-Za-z][A-Za-z0-9.]*)_\d{4}-\d\d-\d\d_")


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """One session a file. A name like `TSLA_2015-01-30_...` says what options do not."""
    for file in files:
        named = _SYMBOL.match(Path(file).name)
        said = options
        if named and options.symbol is None:
            said = replace(options, symbol=named[1])
        yield MappedSource((file,), shipped()["submissions"], said, "submissions")
