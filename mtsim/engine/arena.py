"""The memory of B books: one array, a block for each, more room when a book needs it. Knows no
message."""

import mmap

import numpy as np

from mtsim.engine import layout
from mtsim.engine.layout import HEADER_WORDS, SIZE, Sizes

# Bytes from which memory is asked for in huge pages.
_HUGE = 2**22


class Arena:
    """One block for each book, anywhere in `words`; `bases` says where.

    A block that grows moves to the end and leaves a hole. Once the end is reached, all blocks move
    to a larger array without holes: that makes growing a book amortised O(its size).
    """

    def __init__(self, n_books: int, header: np.ndarray):
        size = int(header[SIZE])
        self.bases = np.arange(n_books, dtype=np.int64) * size
        # Twice the room that is needed: what is not touched costs nothing, and the first growths
        # move nothing else.
        self._use(_zeros(2 * n_books * size), n_books * size)
        self.words[: self._end].reshape(n_books, size)[:, :HEADER_WORDS] = header

    def block(self, book: int) -> np.ndarray:
        """A view of the block of one book, until the next growth."""
        base = self.bases[book]
        return self.words[base : base + self.words[base + SIZE]]

    def grow(self, book: int, sizes: Sizes) -> None:
        """Give a book more room, or a wider window."""
        size = layout.block_words(sizes)
        base = self._reserve(size)
        target = self.words[base : base + size]
        layout.resize(self.block(book), target, sizes)
        self.bases[book] = base

    def put(self, book: int, block: np.ndarray) -> None:
        """Make a book the copy of a block. One copy of memory where the book has the block's size
        already."""
        target = self.block(book)
        if len(target) != len(block):
            base = self._reserve(len(block))
            self.bases[book] = base
            target = self.words[base : base + len(block)]
        target[:] = block

    def copy(self) -> "Arena":
        """Another arena with the same books."""
        other = object.__new__(Arena)
        other.bases = self.bases.copy()
        other._use(_zeros(len(self.words)), self._end)
        other.words[: self._end] = self.words[: self._end]
        return other

    def _use(self, words: np.ndarray, end: int) -> None:
        """Take `words` as the memory of all blocks, which lie before `end`; `words32` is the same
        memory."""
        self.words = words
        self.words32 = words.view(np.int32)
        self._end = end

    def _reserve(self, size: int) -> int:
        """The first of `size` words of zeros that belong to no book yet."""
        if self._end + size > len(self.words):
            self._move(size)
        base = self._end
        self._end += size
        return base

    def _move(self, extra: int) -> None:
        """Move all blocks to a new array without holes and with room for as much again, `extra`
        included."""
        blocks = [self.block(book) for book in range(len(self.bases))]
        live = sum(map(len, blocks))
        words = _zeros(2 * live + extra)
        end = 0
        for book, block in enumerate(blocks):
            words[end : end + len(block)] = block
            self.bases[book] = end
            end += len(block)
        self._use(words, end)


def _zeros(n_words: int) -> np.ndarray:
    """Zeros that begin on a cache line. Pages that are never touched cost nothing."""
    if 8 * n_words >= _HUGE:
        # 1,024 books lie on more small pages than a processor keeps addresses of.
        pages = mmap.mmap(-1, 8 * n_words)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            pages.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(pages, np.int64)
    words = np.zeros(n_words + 7, np.int64)
    start = -words.ctypes.data // 8 % 8
    return words[start : start + n_words]
