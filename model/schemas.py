"""The tokenizers there are: what each spells an action in, and how its lines are cut by default.

    book         the default for the closed loop: level in the book, lots, gap
    tradefm      every add and cancel by its distance from the average price traded at
    trades       takers only: signed tick move, sweep, size against what is usual, gap
    trades-579   takers only, as a published baseline has them, collapsed quantiles and all

Knows names and counts; what the fields mean is `book_fields`, `price_fields` and `trade_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mtsim.errors import UsageError
from mtsim.model.bins import Binning, Spacing

MOST_BINS = 1024

_TICKS_LOW, _TICKS_HIGH = -(1 << 31), (1 << 31) - 1
_LOTS_HIGH = (1 << 31) - 1
_GAP_HIGH = 1 << 62


@dataclass(frozen=True)
class Schema:
    """How actions become tokens: a name, and what is asked of the bins of each of its lines.

    `whole` takes all combinations of codes into the vocabulary, not only those of the training
    data.
    """

    name: str
    lines: dict[str, Binning]
    whole: bool = False

    def with_bins(self, bins: Mapping[str, int | str]) -> Schema:
        """The same schema with other bins: `{"lots": 16, "gap": "log:24"}`.

        A value is a number of bins, with the spacing before it where that is to change, too.
        """
        lines = dict(self.lines)
        for name, asked in bins.items():
            if name not in lines:
                raise UsageError(
                    f"schema {self.name}: no bins are called {name!r}. Known: {', '.join(lines)}."
                )
            lines[name] = _asked(f"schema {self.name}: bins of {name}", lines[name], str(asked))
        return replace(self, lines=lines)


def schema_named(name: str, bins: Mapping[str, int | str] | None = None) -> Schema:
    """The preset of that name, with these bins changed; UsageError where there is none."""
    if name not in PRESETS:
        raise UsageError(f"no schema is called {name!r}. Known: {', '.join(PRESETS)}.")
    return PRESETS[name].with_bins(bins or {})


def bins_from_text(text: str) -> dict[str, int | str]:
    """`lots=16,gap=log:24` as `with_bins` takes it; an empty text changes nothing."""
    bins: dict[str, int | str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, asked = part.partition("=")
        if not separator or not name.strip() or not asked.strip():
            raise UsageError(f"bins: {part!r} is not of the form NAME=COUNT or NAME=SPACING:COUNT")
        if name.strip() in bins:
            raise UsageError(f"bins: {name.strip()!r} is asked for twice")
        bins[name.strip()] = asked.strip()
    return bins


def _asked(where: str, binning: Binning, text: str) -> Binning:
    spacing, separator, count = text.rpartition(":")
    if separator and spacing not in (Spacing.QUANTILE, Spacing.LOG):
        raise UsageError(f"{where}: spacing {spacing!r}. Known: quantile, log.")
    if not count.isascii() or not count.isdigit() or not 2 <= int(count) <= MOST_BINS:
        raise UsageError(f"{where}: {count!r} bins; a whole number from 2 to {MOST_BINS} is needed")
    if separator:
        binning = replace(binning, spacing=Spacing(spacing))
    return replace(binning, n=int(count))


def _ticks(n: int, exact: tuple[int, int]) -> Binning:
    return Binning(n, low=_TICKS_LOW, high=_TICKS_HIGH, exact=exact)


_BOOK = Schema(
    "book",
    {
        "add": _ticks(40, exact=(-2, 5)),
        # Of whole bins of the adds, so that an order which was put into one can be found in one.
        "cancel": replace(_ticks(20, exact=(0, 2)), within="add"),
        "lots": Binning(16, low=1, high=_LOTS_HIGH),
        "gap": Binning(16, low=0, high=_GAP_HIGH, exact=(0, 0)),
    },
)

# The share of values that an outlier bin takes at its end.
_ONE_PERCENT_PPM = 10_000

_TRADEFM = Schema(
    "tradefm",
    {
        "price": Binning(16, outliers_ppm=_ONE_PERCENT_PPM),
        "lots": Binning(
            16, Spacing.EVEN_LOG, low=1, high=_LOTS_HIGH, outliers_ppm=_ONE_PERCENT_PPM
        ),
        "gap": Binning(16, Spacing.EVEN_LOG, low=0, high=_GAP_HIGH, outliers_ppm=_ONE_PERCENT_PPM),
        # Context only.
        "open": Binning(16, collapses=True),
    },
    whole=True,
)

_TRADES = Schema(
    "trades",
    {
        "move": Binning(12, exact=(0, 0)),
        "size": Binning(12, low=0),
        "gap": Binning(16, low=0, high=_GAP_HIGH, exact=(0, 0)),
    },
)

_TRADES_579 = Schema(
    "trades-579",
    {
        "price": Binning(8, Spacing.PLAIN, collapses=True),
        "depth": Binning(8, Spacing.PLAIN, low=0, collapses=True),
        "size": Binning(8, Spacing.PLAIN, low=1, high=_LOTS_HIGH, collapses=True),
        "gap": Binning(4, Spacing.PLAIN, low=0, high=_GAP_HIGH, collapses=True),
    },
    whole=True,
)

PRESETS = {schema.name: schema for schema in (_BOOK, _TRADEFM, _TRADES, _TRADES_579)}
