"""Fitted counts on disk: a folder of two files, written beside its place and renamed in one go.

    <out>/
        counts.bin     every array of every model, one after the other
        manifest.json  sealed: what the arrays are, their digest, whose tokens they count

Equal counts give equal bytes. Probabilities are not stored: they follow from the counts.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtsim.engine.sealed import read_whole, sealed, sync_folder, unsealed
from mtsim.errors import IntegrityError, MissingError, StoreError, UsageError
from mtsim.model.kneser_ney import Counts, KneserNey

FORMAT = "mtsim-ngram"
VERSION = 1
MANIFEST = "manifest.json"
COUNTS = "counts.bin"

_DTYPES = ("<i8", "<i4", "<i8", "<i8", "<i4", "<i8")
"""Of the arrays of `Counts`, in their order."""


class Saved(NamedTuple):
    """Models by name, and what they count."""

    tokenizer_sha256: str
    about: dict[str, Any]  # JSON values: what only the writer knows
    models: Mapping[str, KneserNey]


def write_ngram(target: Path | str, saved: Saved) -> None:
    """Put models into a folder that is not there yet.

    UsageError where it is, StoreError where the disk takes it not. A kill leaves no half of it.
    """
    target = Path(target)
    if os.path.lexists(target):
        raise UsageError(f"{target} is there already: name another folder, or take it away")
    chunks, models = [], []
    for name, model in saved.models.items():
        arrays = [
            np.ascontiguousarray(array, dtype)
            for array, dtype in zip(model.counts, _DTYPES, strict=True)
        ]
        chunks += [array.tobytes() for array in arrays]
        models.append(
            {
                "name": name,
                "n_symbols": model.n_symbols,
                "radices": list(model.radices),
                "lengths": [len(array) for array in arrays],
            }
        )
    content = b"".join(chunks)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer_sha256": saved.tokenizer_sha256,
        "about": saved.about,
        "models": models,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        _put(target, {COUNTS: content, MANIFEST: sealed(manifest)})
    except OSError as error:
        raise StoreError(
            f"{target}: could not be put on disk: {error}. Make room, and save it again."
        ) from error


def read_ngram(folder: Path | str, tokenizer_sha256: str) -> Saved:
    """The models of a folder that count the tokens of this tokenizer.

    MissingError where there is none, IntegrityError for one that is not what its manifest says,
    UsageError for one of other tokens.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        raise MissingError(
            f"{folder}: no n-gram model, {MANIFEST} is not there", "Fit one and save it."
        )
    manifest = unsealed(folder / MANIFEST, "the manifest of an n-gram model")
    found = (manifest.get("format"), manifest.get("version"))
    if found != (FORMAT, VERSION):
        raise IntegrityError(
            f"{folder / MANIFEST}: (format, version) are {found}; this mtsim reads "
            f"{(FORMAT, VERSION)}. Fit the model again."
        )
    content = read_whole(folder / COUNTS)
    digest = hashlib.sha256(content).hexdigest()
    if digest != manifest["sha256"]:
        raise IntegrityError(
            f"{folder / COUNTS}: SHA-256 is {digest}, {folder / MANIFEST} says "
            f"{manifest['sha256']}: it was changed or damaged. Fit the model again."
        )
    if manifest["tokenizer_sha256"] != tokenizer_sha256:
        raise UsageError(
            f"{folder}: counts tokens of the tokenizer {manifest['tokenizer_sha256'][:16]}, not of "
            f"{tokenizer_sha256[:16]}. Use it with data of its own tokenizer, or fit another."
        )
    models, at = {}, 0
    for entry in manifest["models"]:
        arrays = []
        for dtype, length in zip(_DTYPES, entry["lengths"], strict=True):
            arrays.append(np.frombuffer(content, dtype, length, at))
            at += arrays[-1].nbytes
        models[entry["name"]] = KneserNey(
            entry["n_symbols"], tuple(entry["radices"]), Counts(*arrays)
        )
    assert at == len(content)
    return Saved(tokenizer_sha256, manifest["about"], models)


def _put(target: Path, files: dict[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
        # Inside, as a temporary folder itself is for its owner's eyes alone.
        folder = Path(beside) / target.name
        folder.mkdir()
        for name, content in files.items():
            with (folder / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(folder)
        folder.rename(target)
    sync_folder(target.parent)
