"""A simulation's state as bytes that say their own digest. Knows no file."""

from __future__ import annotations

import hashlib
import io
from dataclasses import fields
from typing import Any

import numpy as np

from mtsim.build.simulation import State
from mtsim.engine.snapshot import Snapshot
from mtsim.errors import IntegrityError
from mtsim.world.snapshot import WorldSnapshot

_MAGIC = b"mtsim state 1\n\0\0"
_DIGEST_BYTES = 32
_SCALARS = {"seed": int, "key": np.uint64, "number": int, "n_sent": int}


def to_bytes(state: State) -> bytes:
    """The bytes of a state, for `from_bytes`."""
    arrays: dict[str, Any] = {
        "fired": state.fired,
        "is_over": np.array(state.is_over),
        "n_worlds": np.array(len(state.worlds)),
    }
    for b, world in enumerate(state.worlds):
        for field in fields(WorldSnapshot):
            value = getattr(world, field.name)
            if field.name == "book":
                value = np.frombuffer(value.to_bytes(), np.uint8)
            arrays[f"{b}.{field.name}"] = np.asarray(value)
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    body = sink.getvalue()
    return _MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(stored: bytes, where: str) -> State:
    """The state that `to_bytes` wrote; IntegrityError, naming `where`, for other bytes."""
    head = len(_MAGIC) + _DIGEST_BYTES
    body = stored[head:]
    if stored[: len(_MAGIC)] != _MAGIC:
        raise IntegrityError(f"{where}: not the state of a run, or of another version of mtsim")
    if hashlib.sha256(body).digest() != stored[len(_MAGIC) : head]:
        raise IntegrityError(f"{where}: its content is not what its own digest says")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        worlds = tuple(_world(arrays, b) for b in range(int(arrays["n_worlds"])))
        return State(arrays["fired"], bool(arrays["is_over"]), worlds)


def _world(arrays: Any, b: int) -> WorldSnapshot:
    values: dict[str, Any] = {}
    for field in fields(WorldSnapshot):
        value = arrays[f"{b}.{field.name}"]
        if field.name == "book":
            value = Snapshot.from_bytes(value.tobytes())
        elif field.name in _SCALARS:
            value = _SCALARS[field.name](value)
        values[field.name] = value
    return WorldSnapshot(**values)
