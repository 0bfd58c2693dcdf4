"""Where a measurement was made: the machine in words and figures, one core to stay on, the load."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """The machine and what runs on it, as JSON values: what a reader needs to judge a figure."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if _HAS_AFFINITY else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba")},
    }


def load_average() -> float | None:
    """Runnable processes over the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


@contextmanager
def pinned() -> Iterator[int | None]:
    """Stay on one core, the last of those allowed (the first takes most interrupts), and give it
    back at the end. Yields its number, or None where the system has no such thing."""
    if not _HAS_AFFINITY:
        yield None
        return
    allowed = os.sched_getaffinity(0)
    core = max(allowed)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)


_HAS_AFFINITY = sys.platform == "linux"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    by_name = {name.strip(): value.strip() for name, value in fields.items()}
    return by_name.get("model name") or platform.processor() or platform.machine()
