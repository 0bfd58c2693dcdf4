"""A book set aside: one copy of its block, in memory or as bytes. Knows no matching."""

import hashlib
from dataclasses import dataclass

import numpy as np

from mtsim.engine.invariants import check_block
from mtsim.errors import IntegrityError

_MAGIC = b"mtsim book 1\n\0\0\0"
_DIGEST_BYTES = 32


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything about one book at one moment. Take it with `Books.snapshot`, put it back with
    `Books.restore`."""

    block: np.ndarray
    """A read-only copy of the book's block, see `layout`."""

    @classmethod
    def of(cls, block: np.ndarray) -> "Snapshot":
        copy = block.copy()
        copy.flags.writeable = False
        return cls(copy)

    def to_bytes(self) -> bytes:
        body = self.block.astype("<i8", copy=False).tobytes()
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Snapshot":
        """The snapshot that `to_bytes` wrote. Bytes that it did not write raise IntegrityError.

        The book is checked invariant by invariant: a block whose links lead astray would let
        compiled code write outside it. O(book), about 10 us an order.
        """
        head = len(_MAGIC) + _DIGEST_BYTES
        body = stored[head:]
        if stored[: len(_MAGIC)] != _MAGIC:
            raise IntegrityError(
                "snapshot: not the bytes of Snapshot.to_bytes, or of another version of mtsim."
            )
        if hashlib.sha256(body).digest() != stored[len(_MAGIC) : head]:
            raise IntegrityError(
                "snapshot: the bytes have changed since they were written. Take the snapshot again."
            )
        block = np.frombuffer(body, "<i8")
        try:
            check_block(block)
        except AssertionError as broken:
            raise IntegrityError(f"snapshot: the book in it is not sound: {broken}") from broken
        return cls.of(block)
