"""The tokenizer: actions in, one integer for each out, and back into fields and drawn numbers.

It is fitted once on training data, and frozen: bins, the law inside each, and the vocabulary. Knows
actions and no book; how a schema spells an action is in its own module, a tokenizer as a file in
`tokenizer_file`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np

from mtsim.errors import UsageError
from mtsim.model.bins import Bins, fit_bins
from mtsim.model.book_codes import LAWS, BookTables
from mtsim.model.book_fields import BOOK
from mtsim.model.laws import POINTS, Law, law_of
from mtsim.model.price_fields import TRADEFM, context_of
from mtsim.model.schemas import Schema
from mtsim.model.spelling import Past, Spelling
from mtsim.model.tally import Tally, merged
from mtsim.model.tokenizer_file import Content, content_sha256, read_text, text_of
from mtsim.model.trade_fields import TRADES, TRADES_579
from mtsim.model.vocabulary import SPECIAL, Vocabulary

MOST_CODES = 1 << 25
"""All combinations of a schema's codes are held in one array."""

SPELLINGS = {"book": BOOK, "tradefm": TRADEFM, "trades": TRADES, "trades-579": TRADES_579}

MARKET_POINTS = 64
"""The most values that a bin's law keeps of one market."""

NEVER_SEEN = "never_seen"
"""Why an action has no token: training had none that agrees with it in the fields never changed."""


class Training(NamedTuple):
    """One session to fit on: ACTION_DTYPE arrays in order, and the market they are of."""

    market: str
    batches: Iterable[np.ndarray]


Sessions = Callable[[], Iterable[Training]]
"""A call that gives sessions, those of one market after one another, read or not."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of some actions, and what became of those that have none of their own."""

    tokens: np.ndarray  # the tokenizer's dtype [kept]
    kept: np.ndarray  # bool [n]: which actions have a token
    edited: np.ndarray  # bool [kept]: which stand for a combination that training never saw
    dropped: dict[str, int]  # how many have no token, by reason
    clipped: dict[str, int]  # how many numbers were beyond what their line's bins tell apart

    @property
    def edits(self) -> int:
        return int(self.edited.sum())


class Line(NamedTuple):
    """The bins of one line in training. A bin without a count is hollow."""

    asked: int  # how many bins the schema asks for
    counts: np.ndarray  # int64 [bins]: of these, the first and the last are the tails
    clipped: int  # numbers beyond the clip bounds
    clip_rate: float  # as a share of all of the line


class Report(NamedTuple):
    """A tokenizer's training data, seen through it."""

    actions: int  # with a token
    dropped: dict[str, int]  # without one, by reason
    n_codes: int  # combinations of field codes
    seen: int  # of these: how many occurred; all others are unreachable but for mirror images
    marginals: dict[str, np.ndarray]  # by field, how often each of its codes occurred: int64
    lines: dict[str, Line]


class Tokenizer:
    """A fitted schema. Never changed after it was made, and equal to another by its `sha256`."""

    def __init__(self, content: Content):
        self.content = content
        self.sha256 = content_sha256(content)
        self.spelling = SPELLINGS[content.schema.name]
        self.bins, self.laws = content.bins, content.laws
        """Laws are those of all markets together; `of_market` has others."""
        radices = self.spelling.radices({line: len(bins) for line, bins in self.bins.items()})
        known = np.arange(np.prod(radices)) if content.schema.whole else content.codes
        self._vocabulary = Vocabulary(radices, known, self.spelling.fixed)

    @classmethod
    def fit(cls, schema: Schema, sessions: Sessions, *, saw: str) -> Tokenizer:
        """A tokenizer of the actions of these sessions, each in batches; `saw` names them (a hash).

        `sessions` is called once for each of two passes and gives the same actions both times:
        first the numbers are counted and the bins made, then the codes, and the laws of each market
        if there are several. A session is read from its beginning, as `encode` reads it. Memory is
        bounded by a batch. UsageError where bins cannot be realised.
        """
        spelling = SPELLINGS[schema.name]
        _check_codes(schema, spelling)
        tallies = _count_numbers(spelling, sessions())
        bins: dict[str, Bins] = {}
        for line, binning in schema.lines.items():
            together = merged(*(tallies[law] for law, of in spelling.laws.items() if of == line))
            finer = None if binning.within is None else bins[binning.within]
            where = f"schema {schema.name}: bins of {line}"
            bins[line] = fit_bins(where, binning, together, finer)
        laws = {law: _law(bins[line], tallies[law]) for law, line in spelling.laws.items()}
        counts, dropped, clipped = _count_codes(spelling, bins, sessions)
        markets = _market_laws(spelling, bins, sessions)
        codes = _mirrored(np.flatnonzero(counts), spelling, bins)
        if not len(codes):
            raise UsageError(f"schema {schema.name}: the training data has no action that it tells")
        return cls(
            Content(schema, bins, laws, markets, codes, counts[codes], dropped, clipped, saw)
        )

    def of_market(self, market: str) -> Tokenizer:
        """This tokenizer with the laws of one market, where a bin held any of its numbers.

        Bins and tokens stay the same: a round size of one market is none of another, but it takes
        the same code. Of a market that was not trained on: the tokenizer itself.
        """
        own = self.content.markets.get(market)
        if own is None:
            return self
        other = copy(self)
        other.laws = {name: own[name].filled_from(law) for name, law in self.laws.items()}
        return other

    @property
    def schema(self) -> str:
        return self.content.schema.name

    @property
    def fields(self) -> tuple[str, ...]:
        return self.spelling.fields

    @property
    def radices(self) -> tuple[int, ...]:
        """How many codes each field has."""
        return self._vocabulary.radices

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, PAD, BOS and EOS among them."""
        return len(self._vocabulary)

    @property
    def dtype(self) -> np.dtype:
        """The smallest of uint16 and uint32 that holds every token."""
        return np.dtype(np.uint16 if self.vocabulary <= 1 << 16 else np.uint32)

    @property
    def token_of_code(self) -> np.ndarray:
        """See `Vocabulary.token_of_code`."""
        return self._vocabulary.token_of_code

    @cached_property
    def code_of_token(self) -> np.ndarray:
        return self._vocabulary.code_of_token

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each token occurred in training, int64 [vocabulary]. 0 for special ones."""
        counts = np.zeros(self.vocabulary, np.int64)
        counts[self.token_of_code[self.content.codes]] = self.content.counts
        return counts

    def new_past(self) -> Past:
        """What to hand to `encode` for the first actions of a session."""
        return self.spelling.new_past()

    def encode(self, actions: np.ndarray, past: Past | None = None) -> Encoded:
        """The tokens of these actions, read after those that `past` has seen; it sees them, too.

        Without a past they are the first of their session.
        """
        read = self.spelling.read(actions, self.new_past() if past is None else past, self.bins)
        codes = read.codes
        tokens = np.where(codes >= 0, self.token_of_code[np.maximum(codes, 0)], -1)
        kept = tokens >= 0
        dropped = {
            reason: int((codes == -1 - number).sum())
            for number, reason in enumerate(self.spelling.reasons)
        }
        dropped[NEVER_SEEN] = int((~kept & (codes >= 0)).sum())
        tokens, codes = tokens[kept], codes[kept]
        edited = self.code_of_token[tokens] != codes
        return Encoded(tokens.astype(self.dtype), kept, edited, dropped, read.clipped)

    def context(self, actions: np.ndarray, past: Past, liquidity_tier: int) -> np.ndarray:
        """What a `tradefm` decoder sees beside each action's token: see `price_fields.context_of`.

        Of the schema `tradefm` only.
        """
        if self.schema != "tradefm":
            raise UsageError(f"schema {self.schema}: only tradefm has a context beside its tokens")
        return context_of(actions, past, self.bins, liquidity_tier)

    def fields_of(self, tokens: np.ndarray) -> np.ndarray:
        """The code of each field, int64 [n, fields]; -1 for PAD, BOS and EOS."""
        return self._vocabulary.fields_of_code(self.code_of_token[tokens])

    def tokens_of(self, fields: np.ndarray) -> np.ndarray:
        """The token of each row of field codes: the nearest one where the row itself has none.

        Where none is near enough the token is PAD. The inverse of `fields_of`.
        """
        tokens = self.token_of_code[self._vocabulary.codes_of_fields(fields)]
        return np.where(tokens >= 0, tokens, 0).astype(self.dtype)

    def draw(self, law: str, codes: np.ndarray, units: np.ndarray) -> np.ndarray:
        """A number for each code of the law's line, by the uniform in `units`; int64 [n].

        Drawn from what the bin's numbers were in training. A hollow bin has had none: its own
        bounds are drawn from, as far as numbers are not clipped.
        """
        bins = self.bins[self.spelling.laws[law]]
        low = np.minimum(np.maximum(bins.lower, bins.clip_low), bins.upper)
        high = np.maximum(np.minimum(bins.upper, bins.clip_high), low)
        hollow = self.laws[law].counts == 0
        low, high = np.where(hollow, low, bins.lower), np.where(hollow, high, bins.upper)
        return self.laws[law].draw(codes, units, low[codes], high[codes])

    def tables(self) -> BookTables:
        """The tokenizer as arrays for compiled code. Of the schema `book` only."""
        if self.schema != "book":
            raise UsageError(
                f"schema {self.schema}: its tokens cannot be executed on a book. Use schema book."
            )
        laws = [self.laws[name] for name in LAWS]
        ends = np.cumsum([len(law.value) for law in laws])
        starts = [law.start[1:] + end - len(law.value) for law, end in zip(laws, ends, strict=True)]
        codes = self.fields_of(np.arange(self.vocabulary)).T.copy()
        bounds = [bound for line in self.bins.values() for bound in (line.lower, line.upper)]
        return BookTables(
            *bounds,
            law_first=np.append(0, np.cumsum([len(law.start) - 1 for law in laws])),
            law_start=np.concatenate([np.zeros(1, np.int64), *starts]),
            law_value=np.concatenate([law.value for law in laws]),
            law_weight=np.concatenate([law.weight for law in laws]),
            token_type=codes[0],
            token_level=codes[1],
            token_lots=codes[2],
            token_gap=codes[3],
        )

    def report(self) -> Report:
        """What became of the training data: see `Report`."""
        content, fields = self.content, self.fields_of(np.arange(self.vocabulary))
        real = slice(SPECIAL, None)
        return Report(
            actions=int(self.counts.sum()),
            dropped=content.dropped,
            n_codes=self._vocabulary.n_codes,
            seen=int((self.counts > 0).sum()),
            marginals={
                name: _counted(fields[real, field], self.counts[real], self.radices[field])
                for field, name in enumerate(self.fields)
            },
            lines={line: self._line(line) for line in self.bins},
        )

    def _line(self, line: str) -> Line:
        laws = [self.laws[law] for law, of in self.spelling.laws.items() if of == line]
        counts = np.sum([law.counts for law in laws], axis=0)
        clipped, asked = self.content.clipped[line], self.content.schema.lines[line].n
        return Line(asked, counts, clipped, clipped / counts.sum())

    def to_json(self) -> str:
        """The tokenizer as a text that says its own digest; the same text for equal ones."""
        return text_of(self.content)

    @classmethod
    def from_json(cls, text: str, where: str = "tokenizer") -> Tokenizer:
        """The tokenizer that `to_json` wrote; IntegrityError, calling it `where`, if it did not."""
        return cls(read_text(text, where))


def _check_codes(schema: Schema, spelling: Spelling) -> None:
    radices = spelling.radices({line: binning.n for line, binning in schema.lines.items()})
    codes = 1
    for radix in radices:
        codes *= radix
    if codes > MOST_CODES:
        raise UsageError(
            f"schema {schema.name}: {codes:,} combinations of codes, at most {MOST_CODES:,} can be "
            f"held. Ask for fewer bins."
        )


def _count_numbers(spelling: Spelling, sessions: Iterable[Training]) -> dict[str, Tally]:
    tallies = {law: Tally() for law in spelling.laws}
    for _, batches in sessions:
        past = spelling.new_past()
        for actions in batches:
            for law, numbers in spelling.measure(actions, past).items():
                tallies[law].add(numbers)
    return {law: tally.close() for law, tally in tallies.items()}


def _count_codes(
    spelling: Spelling, bins: dict[str, Bins], sessions: Sessions
) -> tuple[np.ndarray, dict[str, int], dict[str, int]]:
    radices = spelling.radices({line: len(of) for line, of in bins.items()})
    counts = np.zeros(int(np.prod(radices)), np.int64)
    dropped = np.zeros(len(spelling.reasons), np.int64)
    clipped = dict.fromkeys(bins, 0)
    for _, batches in sessions():
        past = spelling.new_past()
        for actions in batches:
            read = spelling.read(actions, past, bins)
            told = read.codes[read.codes >= 0]
            np.add.at(counts, told, 1)
            dropped += np.bincount(-1 - read.codes[read.codes < 0], minlength=len(dropped))
            for line, number in read.clipped.items():
                clipped[line] += number
    return counts, dict(zip(spelling.reasons, dropped.tolist(), strict=True)), clipped


def _market_laws(
    spelling: Spelling, bins: dict[str, Bins], sessions: Sessions
) -> dict[str, dict[str, Law]]:
    """The laws of each market by itself; none where there is only one, which has those of all."""
    if len({training.market for training in sessions()}) < 2:
        return {}
    found: dict[str, dict[str, Law]] = {}
    for market, alike in groupby(sessions(), key=lambda training: training.market):
        assert market not in found, f"sessions of {market} do not follow one another"
        tallies = _count_numbers(spelling, alike)
        found[market] = {
            law: _law(bins[line], tallies[law], MARKET_POINTS)
            for law, line in spelling.laws.items()
        }
    return found


def _counted(codes: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    counted = np.zeros(n, np.int64)
    np.add.at(counted, codes, counts)
    return counted


def _law(bins: Bins, tally: Tally, points: int = POINTS) -> Law:
    return law_of(tally.values, tally.counts, bins.encode(tally.values), len(bins), points)


def _mirrored(codes: np.ndarray, spelling: Spelling, bins: dict[str, Bins]) -> np.ndarray:
    """These codes and those of the same thing done on the other side, ascending."""
    radices = spelling.radices({line: len(of) for line, of in bins.items()})
    unit = int(np.prod(radices[spelling.mirror_field + 1 :]))
    is_odd = (codes // unit) % radices[spelling.mirror_field] % 2 == 1
    return np.union1d(codes, np.where(is_odd, codes - unit, codes + unit))
