"""Modified Kneser-Ney written down from its definition: slow, and easy to check."""

from collections import Counter


class PlainKneserNey:
    """Of examples (symbol, context), whose contexts give up their last code first."""

    def __init__(self, examples, n_symbols: int, *, continuation: bool = True):
        self.n_symbols = n_symbols
        places = len(examples[0][1])
        self.counts = [Counter() for _ in range(places + 1)]
        for symbol, context in examples:
            self.counts[places][tuple(context), symbol] += 1
        for k in range(places - 1, -1, -1):
            for (context, symbol), count in self.counts[k + 1].items():
                self.counts[k][context[:-1], symbol] += 1 if continuation else count
        self.discounts = [self._discounts(counts) for counts in self.counts]

    def probability(self, symbol, context) -> float:
        return self._p(symbol, tuple(context), len(self.counts) - 1)

    def _p(self, symbol, context, k) -> float:
        shorter = 1 / self.n_symbols if k == 0 else self._p(symbol, context, k - 1)
        mine = {s: n for (c, s), n in self.counts[k].items() if c == context[:k]}
        if not mine:
            return shorter
        discount = self.discounts[k]
        total = sum(mine.values())
        left = sum(discount[min(n, 3)] for n in mine.values()) / total
        count = mine.get(symbol, 0)
        return (count - discount[min(count, 3)]) / total + left * shorter

    @staticmethod
    def _discounts(counts):
        of = Counter(counts.values())
        if not (of[1] and of[2] and of[3]):
            return (0, 0.5, 1, 1.5)
        y = of[1] / (of[1] + 2 * of[2])
        found = [k - (k + 1) * y * of[k + 1] / of[k] for k in (1, 2, 3)]
        return (0, *found) if min(found) > 0 else (0, 0.5, 1, 1.5)
