"""Stored sessions by the short names that people give them."""

from __future__ import annotations

from pathlib import Path

from mtsim.errors import MissingError, UsageError
from mtsim.model.store import MANIFEST, Store, StoredSession, open_session


def find_session(name: str) -> StoredSession:
    """The session in the folder of this name, or the one that STORE/SYMBOL/DATE or
    STORE/VENUE/SYMBOL/DATE says.

    MissingError where there is none, UsageError where there are several.
    """
    folder = Path(name)
    if (folder / MANIFEST).exists():
        return open_session(folder)
    store = folder.parent.parent
    if len(folder.parts) < 3 or not store.is_dir():
        raise MissingError(
            f"{name}: no stored session", "Name its folder, or STORE/SYMBOL/DATE; see `mtsim ls`."
        )
    wanted = folder.parts[-2:]
    found = [path for path in Store(store).folders() if path.parts[-2:] == wanted]
    if not found:
        raise MissingError(
            f"{name}: no session of {wanted[0]} on {wanted[1]} in the store {store}",
            "`mtsim data import` puts one there.",
        )
    if len(found) > 1:
        venues = ", ".join(path.parts[-3] for path in found)
        raise UsageError(
            f"{name}: sessions of {len(found)} venues: {venues}. Name one: "
            f"{store}/VENUE/{wanted[0]}/{wanted[1]}"
        )
    return open_session(found[0])
