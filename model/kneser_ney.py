"""Interpolated Kneser-Ney: the probability of a symbol given the codes that came before it.

An example is a symbol and its context, a row of codes of which the last is given up first. Contexts
are a tree: exact, without hashes, and of no more nodes than there were examples. Counts are
integers; all probabilities follow from them. Knows neither tokens nor fields.

Modified Kneser-Ney as in Chen & Goodman (1999): three discounts for each order from its counts of
counts, and below the longest context not how often a symbol followed, but after how many different
next codes of the context it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.errors import UsageError

_NO_ESTIMATE = (0.0, 0.5, 1.0, 1.5)
"""The discounts where counts of counts have none to tell, as with very few different symbols."""


class Counts(NamedTuple):
    """The tree of contexts, nodes of one depth after those of the depth above: 0 is the root.

    Node i has the children `child[i]` to `child[i + 1]` - 1 and the symbols from `gram[i]` to
    `gram[i + 1]` - 1, both in ascending order.
    """

    depth: np.ndarray  # int64 [order + 1]: where the nodes of each depth begin
    code: np.ndarray  # int32 [nodes]: the last code of the node's context, 0 of the root
    child: np.ndarray  # int64 [nodes + 1]
    gram: np.ndarray  # int64 [nodes + 1]
    symbol: np.ndarray  # int32 [grams]
    times: np.ndarray  # int64 [grams]: how often, or after how many codes


class Tables(NamedTuple):
    """What compiled code reads: p(symbol | node) = share + left * p(symbol | parent)."""

    code: np.ndarray
    child: np.ndarray
    gram: np.ndarray
    symbol: np.ndarray
    share: np.ndarray  # float64 [grams]: what a symbol has of its own
    left: np.ndarray  # float64 [nodes]: what is left for the shorter context


@dataclass(frozen=True)
class KneserNey:
    """Fitted counts. Probabilities of all `n_symbols` symbols are above 0 and add up to 1."""

    n_symbols: int
    radices: tuple[int, ...]  # how many codes each place of a context has
    counts: Counts

    @classmethod
    def fit(
        cls,
        symbols: np.ndarray,
        contexts: np.ndarray,
        n_symbols: int,
        radices: tuple[int, ...],
        *,
        continuation: bool = True,
    ) -> KneserNey:
        """From examples: integers [n] and their contexts, integers [n, places].

        Without `continuation` shorter contexts count how often a symbol followed: absolute
        discounting. O(n places log n) time, O(n places) memory. UsageError where n is 0.
        """
        assert contexts.shape == (len(symbols), len(radices))
        if not len(symbols):
            raise UsageError(
                "there is nothing to count: no segment of the training part has two positions. "
                "Prepare more sessions, or another split."
            )
        assert 0 <= symbols.min() <= symbols.max() < n_symbols
        node = np.zeros(len(symbols), np.int64)
        parents, codes = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        for place, radix in enumerate(radices):
            assert 0 <= contexts[:, place].min() <= contexts[:, place].max() < radix
            # Numbers of nodes are dense, so this never overflows and is no hash.
            found, node = np.unique(node * radix + contexts[:, place], return_inverse=True)
            parents.append(found // radix)
            codes.append(found % radix)
        grams, counts = np.unique(node * n_symbols + symbols, return_counts=True)
        counted = [(grams, counts)]
        for parent in parents[:0:-1]:
            above = parent[grams // n_symbols] * n_symbols + grams % n_symbols
            grams, where = np.unique(above, return_inverse=True)
            weights = np.ones_like(counts) if continuation else counts
            counts = np.zeros(len(grams), np.int64)
            np.add.at(counts, where, weights)
            counted.append((grams, counts))
        return cls(n_symbols, tuple(radices), _joined(parents, codes, counted[::-1], n_symbols))

    @property
    def order(self) -> int:
        """1 more than a context has places."""
        return len(self.radices) + 1

    @cached_property
    def discounts(self) -> np.ndarray:
        """Of counts 0, 1, 2 and more, by order from 1; float64 [order, 4]."""
        starts = self.counts.gram[self.counts.depth]
        return np.array(
            [_discounts(self.counts.times[first:last]) for first, last in pairwise(starts.tolist())]
        )

    @cached_property
    def tables(self) -> Tables:
        counts = self.counts
        depth_of_gram = np.repeat(np.arange(self.order), np.diff(counts.gram[counts.depth]))
        discount = self.discounts[depth_of_gram, np.minimum(counts.times, 3)]
        # Every node has a symbol: it is there because an example was.
        total = np.add.reduceat(counts.times, counts.gram[:-1])
        left = np.add.reduceat(discount, counts.gram[:-1]) / total
        share = (counts.times - discount) / np.repeat(total, np.diff(counts.gram))
        return Tables(counts.code, counts.child, counts.gram, counts.symbol, share, left)

    def masses(self, first: np.ndarray, end: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """The probability of a symbol from `first` to `end` - 1 after each context; float64 [n].

        O(places log grams) each, and the symbols of the range that followed.
        """
        out = np.empty(len(contexts))
        bounds = np.asarray(first, np.int64), np.asarray(end, np.int64)
        _masses(self.tables, self.n_symbols, *bounds, self._rows(contexts), out)
        return out

    def log_probabilities(self, symbols: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """ln p of each symbol after its context, float64 [n]. Contexts never seen back off."""
        symbols = np.asarray(symbols, np.int64)
        return np.log(self.masses(symbols, symbols + 1, contexts))

    def distributions(self, contexts: np.ndarray) -> np.ndarray:
        """The probability of every symbol after each context, float64 [n, n_symbols]."""
        out = np.empty((len(contexts), self.n_symbols))
        _distributions(self.tables, self._rows(contexts), out)
        return out

    def _rows(self, contexts: np.ndarray) -> np.ndarray:
        assert contexts.shape[1:] == (len(self.radices),)
        return np.ascontiguousarray(contexts, np.int64)


def preceding(stretch: np.ndarray, places: int, filler: int) -> np.ndarray:
    """The context of every symbol of a stretch but its first: those before it, the last one first.

    int64 [len(stretch) - 1, places]; `filler` stands for what would be before the stretch.
    """
    whole = np.concatenate([np.full(max(places - 1, 0), filler), stretch]).astype(np.int64)
    n = max(len(stretch) - 1, 0)
    columns = [whole[places - 1 - k : places - 1 - k + n] for k in range(places)]
    return np.stack(columns, axis=1) if columns else np.empty((n, 0), np.int64)


def sequence_examples(
    stretches: Iterable[np.ndarray], order: int, filler: int
) -> tuple[np.ndarray, np.ndarray]:
    """All symbols but the first of each stretch, and their contexts: see `preceding`."""
    whole = [np.asarray(stretch) for stretch in stretches]
    symbols = [np.empty(0, np.int64), *(stretch[1:].astype(np.int64) for stretch in whole)]
    contexts = [
        np.empty((0, order - 1), np.int64),
        *(preceding(stretch, order - 1, filler) for stretch in whole),
    ]
    return np.concatenate(symbols), np.concatenate(contexts)


def draw(weights: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The symbol at which each row's weights, added up in their order, pass its uniform; int64 [n].

    `weights` are 0 or more, float64 [n, symbols], and need not add up to 1; `units` lie in [0, 1).
    A symbol of weight 0 is never drawn; a row without any weight is our own mistake.
    """
    assert (weights >= 0).all()
    assert weights.any(axis=1).all(), "no symbol is allowed"
    cumulative = np.cumsum(weights, axis=1)
    passed = cumulative <= (units * cumulative[:, -1])[:, None]
    last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    # Rounding may lift unit * total to the total itself.
    return np.minimum(passed.sum(axis=1), last)


def _joined(
    parents: list[np.ndarray],
    codes: list[np.ndarray],
    counted: list[tuple[np.ndarray, np.ndarray]],
    n_symbols: int,
) -> Counts:
    sizes = [len(parent) for parent in parents]
    depth = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    below = [
        np.searchsorted(parents[k + 1], np.arange(sizes[k])) + depth[k + 1]
        for k in range(len(sizes) - 1)
    ]
    none_below = np.full(sizes[-1] + 1, depth[-1], np.int64)
    per_node = [
        np.bincount(grams // n_symbols, minlength=size)
        for (grams, _), size in zip(counted, sizes, strict=True)
    ]
    return Counts(
        depth,
        np.concatenate(codes).astype(np.int32),
        np.concatenate([*below, none_below]).astype(np.int64),
        np.concatenate([[0], np.cumsum(np.concatenate(per_node))]).astype(np.int64),
        np.concatenate([grams % n_symbols for grams, _ in counted]).astype(np.int32),
        np.concatenate([counts for _, counts in counted]).astype(np.int64),
    )


def _discounts(counts: np.ndarray) -> tuple[float, ...]:
    """Of counts 0, 1, 2 and 3 or more: equation 17 of Chen & Goodman."""
    n_1, n_2, n_3, n_4 = (int((counts == k).sum()) for k in range(1, 5))
    if not (n_1 and n_2 and n_3):
        return _NO_ESTIMATE
    y = n_1 / (n_1 + 2 * n_2)
    found = (0.0, 1 - 2 * y * n_2 / n_1, 2 - 3 * y * n_3 / n_2, 3 - 4 * y * n_4 / n_3)
    # Few counts may say that a discount is below 0: then nothing would be left for the unseen.
    return found if min(found[1:]) > 0 else _NO_ESTIMATE


@njit(nogil=True, cache=True)
def _child_of(tables, node, code):
    """The node below `node` for the next code, -1 where training never had it. O(log children)."""
    first, end = tables.child[node], tables.child[node + 1]
    at = first + np.searchsorted(tables.code[first:end], code)
    return at if at < end and tables.code[at] == code else -1


@njit(nogil=True, cache=True)
def _masses(tables, n_symbols, firsts, ends, contexts, out):
    for i in range(len(out)):
        mass = (ends[i] - firsts[i]) / n_symbols
        node, place = 0, 0
        while node >= 0:
            begin, stop = tables.gram[node], tables.gram[node + 1]
            at = begin + np.searchsorted(tables.symbol[begin:stop], firsts[i])
            mass *= tables.left[node]
            while at < stop and tables.symbol[at] < ends[i]:
                mass += tables.share[at]
                at += 1
            if place == contexts.shape[1]:
                break
            node = _child_of(tables, node, contexts[i, place])
            place += 1
        out[i] = mass


@njit(nogil=True, cache=True)
def _distributions(tables, contexts, out):
    for i in range(len(out)):
        out[i] = 1 / out.shape[1]
        node, place = 0, 0
        while node >= 0:
            out[i] *= tables.left[node]
            for at in range(tables.gram[node], tables.gram[node + 1]):
                out[i, tables.symbol[at]] += tables.share[at]
            if place == contexts.shape[1]:
                break
            node = _child_of(tables, node, contexts[i, place])
            place += 1
