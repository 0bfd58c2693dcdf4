"""What compiled code is made of, as one integer for it to close over.

Numba's cache looks at the file of the cached function only: not at what that calls in other files,
nor at boundscheck. An entry point that closes over the fingerprint of all its sources is compiled
anew when any of them changes.
"""

import hashlib
from pathlib import Path

from numba import config


def fingerprint(*sources: Path | int) -> int:
    """63 bits that name these files, other fingerprints among them, and Numba's boundscheck."""
    digest = hashlib.sha256(bytes([bool(config.BOUNDSCHECK)]))  # pyright: ignore
    for source in sources:
        content = source.to_bytes(8, "little") if isinstance(source, int) else source.read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return int.from_bytes(digest.digest()[:8], "little") >> 1
