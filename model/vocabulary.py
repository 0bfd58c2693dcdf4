"""Tokens and codes: which combinations of field codes have a token, and which stands for the rest.

A code is the mixed-radix number of its fields' codes. Tokens are PAD, BOS, EOS, and then the codes
of the vocabulary in ascending order. Knows no field and no action.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

PAD, BOS, EOS = 0, 1, 2
SPECIAL = 3


class Vocabulary:
    """The codes that have a token, by the radix of each field."""

    def __init__(self, radices: tuple[int, ...], codes: np.ndarray, fixed: int):
        self.radices = radices
        self.codes = np.asarray(codes, np.int64)
        self.n_codes = math.prod(radices)
        self._tokens = _nearest(self.codes, radices, fixed)

    def __len__(self) -> int:
        """How many tokens there are, the special ones among them."""
        return SPECIAL + len(self.codes)

    @property
    def token_of_code(self) -> np.ndarray:
        """The token of every code, int32 [n_codes].

        A code outside of the vocabulary has the token of the nearest one inside: of those that
        agree with it in the most leading fields the one whose next field is nearest (the lower one
        of two), and so on. -1 where the leading fields that are never changed have no token.
        """
        return self._tokens

    @property
    def code_of_token(self) -> np.ndarray:
        """The code of each token, -1 for the special ones; int64 [len(self)]."""
        return np.append(np.full(SPECIAL, -1, np.int64), self.codes)

    def fields_of_code(self, codes: np.ndarray) -> np.ndarray:
        """The code of each field, int64 [n, fields]; -1 for codes below 0."""
        codes = np.asarray(codes, np.int64)
        fields = np.empty((len(codes), len(self.radices)), np.int64)
        rest = codes.copy()
        for field in range(len(self.radices) - 1, -1, -1):
            fields[:, field] = rest % self.radices[field]
            rest //= self.radices[field]
        fields[codes < 0] = -1
        return fields

    def codes_of_fields(self, fields: np.ndarray) -> np.ndarray:
        """The code of each row of field codes; int64 [n]."""
        codes = np.zeros(len(fields), np.int64)
        for field, radix in enumerate(self.radices):
            codes = codes * radix + fields[:, field]
        return codes


def _nearest(codes: np.ndarray, radices: tuple[int, ...], fixed: int) -> np.ndarray:
    # Level d of the tree of prefixes: which choices of the first d + 1 fields lead to a code.
    sizes = np.cumprod(np.array(radices, np.int64))
    starts = np.append(0, np.cumsum(sizes))
    known = np.zeros(starts[-1], np.bool_)
    for depth in range(len(radices)):
        known[starts[depth] + codes // (sizes[-1] // sizes[depth])] = True
    tokens = np.full(sizes[-1], -1, np.int32)
    tokens[codes] = SPECIAL + np.arange(len(codes), dtype=np.int32)
    _fill_nearest(tokens, known, starts, np.array(radices, np.int64), fixed)
    return tokens


@njit(cache=True)
def _fill_nearest(tokens, known, starts, radices, fixed):
    n_fields = len(radices)
    digits = np.empty(n_fields, np.int64)
    n_codes = len(tokens)
    leaves = starts[n_fields - 1]
    for code in range(n_codes):
        if known[leaves + code]:
            continue
        rest = code
        for field in range(n_fields - 1, -1, -1):
            digits[field] = rest % radices[field]
            rest //= radices[field]
        prefix = 0
        for field in range(n_fields):
            first = starts[field] + prefix * radices[field]
            digit = digits[field]
            if not known[first + digit]:
                if field < fixed:
                    prefix = -1
                    break
                digit = _nearest_digit(known, first, radices[field], digit)
            prefix = prefix * radices[field] + digit
        if prefix >= 0:
            # Only codes of the vocabulary are leaves, and those had their token from the start.
            tokens[code] = tokens[prefix]


@njit(cache=True)
def _nearest_digit(known, first, radix, digit):
    for step in range(1, radix):
        if digit >= step and known[first + digit - step]:
            return digit - step
        if digit + step < radix and known[first + digit + step]:
            return digit + step
    return -1
