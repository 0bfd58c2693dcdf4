"""Say whether this machine is ready: versions, cores, GPU, compiled-code cache, disk, extras."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import mtsim
from mtsim.cli.console import print_json, print_table, say
from mtsim.errors import EXIT_MISSING, EXIT_OK

CORE = ("torch", "triton", "numba", "numpy", "pyarrow", "gymnasium", "pydantic")
MIN_FREE_BYTES = 2 * 10**9


def command(
    *,
    warm: Annotated[
        bool, Parameter(help="Compile the engine now, so that no later command waits.", negative="")
    ] = False,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> int:
    """Say whether this machine is ready. Exits 3 when something that mtsim needs is missing."""
    if warm:
        _warm_engine()
    rows = [*_software(), *_hardware(), *_cache(), _disk(), *_extras()]
    if json:
        keys = ("what", "status", "found", "remedy")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        print_table(("", "", "found", "what to do"), [(row[1], row[0], *row[2:]) for row in rows])
    return EXIT_MISSING if any(status == "missing" for _, status, _, _ in rows) else EXIT_OK


Row = tuple[str, str, str, str]


def _software() -> list[Row]:
    found = f"{platform.python_version()} ({sys.executable})"
    rows: list[Row] = [
        ("mtsim", "ok", f"{mtsim.__version__} in {Path(mtsim.__file__).parent}", ""),
        ("python", "ok", found, ""),
    ]
    for name in CORE:
        try:
            rows.append((name, "ok", version(name), ""))
        except PackageNotFoundError:
            if name == "triton" and sys.platform != "linux":
                rows.append((name, "absent", "Linux only", "kernels run as plain torch"))
            else:
                rows.append((name, "missing", "not installed", f"pip install {name}"))
    return rows


def _hardware() -> list[Row]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = f"{usable} usable of {os.cpu_count()}, {platform.machine()}"
    return [("cores", "ok", cores, ""), _gpu()]


def _gpu() -> Row:
    try:
        import torch
    except ImportError:
        return ("gpu", "absent", "cannot be asked without torch", "")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return ("gpu", "ok", f"{', '.join(names)} (CUDA {torch.version.cuda})", "")
    if torch.version.cuda is None and Path("/proc/driver/nvidia").exists():
        remedy = "install without the pin file: pip install ."
        return ("gpu", "unused", f"a GPU is here, torch {torch.__version__} cannot use it", remedy)
    return ("gpu", "absent", "none: everything runs on the CPU", "")


def _cache() -> list[Row]:
    """Where Numba keeps compiled code, whether it is ours, and whether the engine is in it."""
    from numba.core import config

    chosen = getattr(config, "CACHE_DIR", "")
    folder = Path(chosen or Path(mtsim.__file__).parent / "engine" / "__pycache__")
    index = sorted(folder.rglob("*.nbi"))
    if not folder.exists():
        return [("compiled code", "cold", str(folder), "mtsim doctor --warm")]
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        # Compiled code is loaded and run as it lies there: whoever owns the folder runs code as us.
        remedy = "set NUMBA_CACHE_DIR to a folder of your own"
        return [("compiled code", "foreign", f"{folder} belongs to somebody else", remedy)]
    if not index:
        return [("compiled code", "cold", str(folder), "mtsim doctor --warm")]
    return [("compiled code", "warm", f"{len(index)} functions in {folder}", "")]


def _disk() -> Row:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 1e9:.1f} GB free in {Path.cwd()}"
    if free < MIN_FREE_BYTES:
        return ("disk", "low", found, "runs and datasets need more")
    return ("disk", "ok", found, "")


def _extras() -> list[Row]:
    """Each extra, present when every package that it names is."""
    members: dict[str, list[str]] = {}
    try:
        lines = requires("mtsim") or []
    except PackageNotFoundError:
        return [("extras", "unknown", "mtsim runs from a folder, uninstalled", "pip install -e .")]
    for line in lines:
        name, _, condition = line.partition(";")
        if "extra ==" in condition:
            extra = condition.rpartition("==")[2].strip(" \"'")
            package = "".join(
                letter if letter.isalnum() or letter in "-_." else " " for letter in name
            )
            members.setdefault(extra, []).append(package.split()[0])
    rows: list[Row] = []
    for extra, packages in members.items():
        absent = [package for package in packages if not _installed(package)]
        if absent:
            remedy = f"pip install {' '.join(absent)}"
            rows.append((f"extra {extra}", "absent", "", remedy))
        else:
            rows.append((f"extra {extra}", "ok", ", ".join(packages), ""))
    return rows


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _warm_engine() -> None:
    say("Compiling the matching engine (once for this version)")
    from mtsim.engine.book import Book
    from mtsim.engine.units import Side

    book = Book()
    book.limit(Side.BUY, 100, 1, 1)
    book.depth(Side.BUY, 1)
