"""Encoded actions as they lie in the files: stretches between BOS and EOS, and segments of them.

A stretch of n actions with a token is n + 2 positions:

    tokens     BOS   a(1)  a(2)  ...  a(n)     EOS
    features   f(1)  f(2)  f(3)  ...  closing  0

where f(k) is observed just before a(k): at each position stands what is observed after its token
and before the next. A stretch without any such action is not there. BOS is of the part of the
first action, EOS of that of the last. Knows no book and no schema.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mtsim.model.dataset_files import SEGMENT_DTYPE, Growing
from mtsim.model.vocabulary import BOS, EOS


class Sequences:
    """The tokens, features and segments of a data set, growing action by action."""

    def __init__(self, tokens: Growing, features: Growing, dtype: np.dtype, n_features: int):
        self.positions = 0
        self._tokens, self._features, self._dtype = tokens, features, dtype
        self._nothing = np.zeros((1, n_features), np.float32)
        self._begun = False
        self._last_part = 0
        self._segments: list[tuple[int, int, int, int]] = []
        """(first, end, session, part)"""

    def add(
        self, session: int, tokens: np.ndarray, features: np.ndarray, parts: np.ndarray
    ) -> None:
        """Go on with a stretch: actions that have a token, what was observed before each, and the
        part of each."""
        if not len(tokens):
            return
        if not self._begun:
            self._append([BOS], session, parts[:1], begins=True)
            self._begun = True
        self._append(tokens, session, parts)
        self._features.append(features)
        self._last_part = int(parts[-1])

    def end(self, session: int, closing: np.ndarray) -> None:
        """End a stretch: `closing` was observed after its last action."""
        if self._begun:
            self._append([EOS], session, np.array([self._last_part], np.uint8))
            self._features.append(closing.reshape(1, -1))
            self._features.append(self._nothing)
            self._begun = False

    def segments(self) -> np.ndarray:
        """SEGMENT_DTYPE rows of everything so far."""
        assert not self._begun
        rows = np.zeros(len(self._segments), SEGMENT_DTYPE)
        numbers = np.array(self._segments, np.int64).reshape(-1, 4)
        for column, name in enumerate(("first", "end", "session", "part")):
            rows[name] = numbers[:, column]
        return rows

    def _append(
        self,
        tokens: np.ndarray | list[int],
        session: int,
        parts: np.ndarray,
        *,
        begins: bool = False,
    ) -> None:
        self._tokens.append(np.asarray(tokens).astype(self._dtype))
        edges = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
        for start, stop in pairwise(edges):
            part = int(parts[start])
            before = self._segments[-1] if self._segments else None
            first = self.positions + start
            if start == 0 and not begins and before is not None and before[3] == part:
                first = before[0]
                self._segments.pop()
            self._segments.append((first, self.positions + stop, session, part))
        self.positions += len(parts)
