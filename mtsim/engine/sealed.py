"""Files that say what they must be: JSON with its own digest; whole reads, synced folders.

A sealed value has one spelling, so a flipped bit that JSON would forgive is found, too. Knows no
tape and no store; both are built on it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mtsim.errors import IntegrityError


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, ASCII. NaN raises ValueError."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def sealed(value: dict[str, Any]) -> bytes:
    """The value as a JSON file that says its own digest."""
    own = hashlib.sha256(canonical_json(value)).hexdigest()
    text = json.dumps({"this_sha256": own, "content": value}, sort_keys=True, indent=1)
    return text.encode() + b"\n"


def unsealed(path: Path, what: str) -> dict[str, Any]:
    """The value of a sealed file; IntegrityError, calling it `what`, when it is not as sealed."""
    content = read_whole(path)
    try:
        value = json.loads(content)["content"]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not {what} ({error})") from error
    if not isinstance(value, dict) or sealed(value) != content:
        raise IntegrityError(
            f"{path}: its content is not what its own digest says; the file was changed or damaged"
        )
    return value


def read_whole(path: Path) -> bytes:
    """The bytes of a file that must be there; IntegrityError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, not only the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
