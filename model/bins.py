"""Bins: the line of the integers cut into codes, where the training data says it should be.

Atoms first: a value that makes up more than one n-th of the data has a bin of its own. The rest is
cut so that no bin is empty; where that cannot be, fitting fails rather than hand back fewer bins
than were asked for. Knows no field of any schema, and no law inside a bin: that is `laws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mtsim.errors import UsageError
from mtsim.model.tally import Tally


class Spacing(StrEnum):
    """How the line is cut where no atom does it."""

    QUANTILE = "quantile"  # bins are equally heavy
    LOG = "log"  # bins are equally wide in the logarithm, but none is empty
    EVEN_LOG = "even-log"  # bins are equally wide in the logarithm of 1 + value, some are empty
    PLAIN = "plain"  # quantiles without atoms first; equal edges fall together


@dataclass(frozen=True)
class Binning:
    """What is asked of the bins of one line: `n` bins of the integers from `low` to `high`.

    Each value from `exact[0]` to `exact[1]` that occurs has a bin of its own, as an atom has.
    `outliers_ppm` of the values beyond either end of what is cut go into a bin for that end: into
    two for QUANTILE, into an upper one for EVEN_LOG. Fewer than `n` bins are an error unless
    `collapses`; an EVEN_LOG has all of them, empty or not. `within` names a line whose bins these
    are made of, each of one or several whole ones.
    """

    n: int
    spacing: Spacing = Spacing.QUANTILE
    low: int = -(1 << 62)
    high: int = 1 << 62
    exact: tuple[int, int] | None = None
    outliers_ppm: int = 0
    collapses: bool = False
    within: str | None = None


@dataclass(frozen=True)
class Bins:
    """Bins with inclusive bounds, ascending, without a hole between them.

    Values beyond [clip_low, clip_high] are *clipped*: their bin is drawn from, which says nothing
    about how far out they were. That are the outliers, or all that training never saw.
    """

    lower: np.ndarray  # int64 [n]
    upper: np.ndarray
    clip_low: int
    clip_high: int

    def __len__(self) -> int:
        return len(self.upper)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The code of each value; values beyond the line's ends have the code of the end."""
        return np.minimum(np.searchsorted(self.upper, values), len(self) - 1)


def fit_bins(where: str, binning: Binning, tally: Tally, finer: Bins | None = None) -> Bins:
    """The bins of these values, made of `finer` ones where the binning is `within` a line.

    UsageError, calling them `where`, where they cannot be had.
    """
    assert (finer is None) == (binning.within is None)
    if tally.ends is None:
        raise UsageError(
            f"{where}: {binning.n} bins were asked for, but the training data has no value for "
            f"them. Choose another schema, or training data that has what this one describes."
        )
    least, most = tally.ends
    assert binning.low <= least <= most <= binning.high, f"{where}: {least} to {most}"
    clip = tally.ends
    if finer is not None:
        tally = _told_by(finer, tally)
    match binning.spacing:
        case Spacing.EVEN_LOG:
            ends = _even_log(binning, tally)
            clip = (least, int(ends[-1]))
        case Spacing.PLAIN:
            ends = _plain(binning, tally)
        case _ if binning.outliers_ppm:
            ends = _between_outliers(where, binning, tally)
            clip = (int(ends[0]) + 1, int(ends[-1]))
        case _:
            ends = _cut(where, binning, binning.n, tally, np.full(len(tally.values), True))
    if finer is not None:
        ends = finer.upper[np.searchsorted(finer.upper, ends, side="right") - 1]
    upper = np.append(ends, binning.high).astype(np.int64)
    lower = np.append(binning.low, upper[:-1] + 1).astype(np.int64)
    if len(upper) < binning.n and not binning.collapses:
        raise UsageError(
            f"{where}: {binning.n} bins were asked for, {len(upper)} can be realised: the training "
            f"data has no more than {len(tally.values)} distinct values. Ask for {len(upper)}."
        )
    return Bins(lower, upper, *clip)


def _told_by(finer: Bins, tally: Tally) -> Tally:
    """The counts of a tally's values as those bins tell them apart: each at its bin's upper end."""
    codes = finer.encode(tally.values)
    told = Tally()
    told.values = finer.upper[np.unique(codes)]
    counts = np.zeros(len(finer), np.int64)
    np.add.at(counts, codes, tally.counts)
    told.counts, told.ends = counts[np.unique(codes)], tally.ends
    return told


def _even_log(binning: Binning, tally: Tally) -> np.ndarray:
    low, high = int(tally.values[0]), _at_share(tally, 1 - binning.outliers_ppm * 1e-6)
    first, last = np.log1p(low), np.log1p(high)
    edges = np.expm1(np.linspace(first, last, binning.n)[1:])
    edges[-1] = high
    # Each bin keeps a place for its code, so narrow ones at the low end are one integer wide even
    # where the logarithm would give them none.
    ends = np.floor(edges).astype(np.int64)
    narrowest = np.arange(len(ends))
    return np.maximum.accumulate(np.maximum(ends - narrowest, binning.low)) + narrowest


def _plain(binning: Binning, tally: Tally) -> np.ndarray:
    shares = np.arange(1, binning.n) / binning.n
    edges = np.unique([_at_share(tally, share) for share in shares])
    return edges[edges < binning.high]


def _at_share(tally: Tally, share: float) -> int:
    """The smallest value that `share` of all values do not exceed."""
    wanted = max(1, int(np.ceil(share * tally.total() - 1e-9)))
    return int(tally.values[np.searchsorted(np.cumsum(tally.counts), wanted)])


def _between_outliers(where: str, binning: Binning, tally: Tally) -> np.ndarray:
    values = tally.values
    low = _at_share(tally, binning.outliers_ppm * 1e-6)
    high = _at_share(tally, 1 - binning.outliers_ppm * 1e-6)
    inside = (values > low) & (values < high)
    if not inside.any():
        raise UsageError(
            f"{where}: nothing lies between its outliers, up to {low} and from {high}: the "
            f"training data has {len(values)} distinct values"
        )
    inner = _cut(where, binning, binning.n - 2, tally, inside)
    return np.concatenate([[low], inner, [high - 1]])


def _cut(where: str, binning: Binning, n: int, tally: Tally, inside: np.ndarray) -> np.ndarray:
    """The last integers of all but the last of `n` bins of some values; fewer if those are few."""
    values, counts = tally.values[inside], tally.counts[inside]
    alone = counts * n > counts.sum()
    if binning.exact is not None:
        alone |= (values >= binning.exact[0]) & (values <= binning.exact[1])
    # The middle of a cell stands for its neighbours, too.
    alone &= tally.is_exact()[inside]
    # Runs of values between atoms, each a bin to start with.
    begins = np.flatnonzero(alone | np.append(True, alone[:-1]))
    spare = n - len(begins)
    if spare < 0:
        raise UsageError(
            f"{where}: {n} bins were asked for, but {int(alone.sum())} values have one of their "
            f"own and {len(begins) - int(alone.sum())} are needed around them. "
            f"Ask for at least {len(begins)}."
        )
    lengths = np.diff(np.append(begins, len(values)))
    extent = counts.astype(np.float64)
    if binning.spacing is Spacing.LOG:
        position = np.sign(values) * np.log1p(np.abs(values))
        extent = np.diff(position, prepend=position[0])
        # A run is as wide as from its first value to its last, whatever lies before it.
        extent[begins] = 0
    extents = np.add.reduceat(extent, begins)
    shares = np.ones(len(begins), np.int64)
    for _ in range(spare):
        room = shares < lengths
        if not room.any():
            break
        shares[np.argmax(np.where(room, extents / shares, -1.0))] += 1
    firsts = [
        begin + first
        for begin, length, share in zip(begins, lengths, shares, strict=True)
        for first in _firsts(extent[begin : begin + length], int(share))
    ]
    return _ends(values, alone, np.array(firsts[1:], np.int64))


def _firsts(extent: np.ndarray, n: int) -> list[int]:
    """Where each of `n` runs of about equal extent begins; each has at least one member."""
    reached = np.cumsum(extent)
    firsts = [0]
    for part in range(1, n):
        wanted = reached[-1] * part / n
        at = int(np.searchsorted(reached, wanted))
        # Before or after the member that crosses the wanted extent, whichever is nearer.
        if at < len(extent) and reached[at] - wanted <= extent[at] / 2:
            at += 1
        firsts.append(min(max(at, firsts[-1] + 1), len(extent) - (n - part)))
    return firsts


def _ends(values: np.ndarray, alone: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """The last integer before each bin but the first.

    Integers between two bins that never occurred go to the nearer one, but never to an atom that
    has a neighbour without one: an atom stays itself.
    """
    before, after = values[firsts - 1], values[firsts]
    ends = before + (after - before) // 2
    ends = np.where(alone[firsts - 1] & ~alone[firsts], before, ends)
    return np.where(~alone[firsts - 1] & alone[firsts], after - 1, ends)
