"""Plants one bug at a time into a copy of the compiled engine and runs the tests that must notice.

    python tests/engine/mutants.py [--jobs 2] [--only NAME]

Prints `20/20 killed` and who killed each. Exits with 1 when a mutant survives, when the engine as
it is fails, or when the source has changed so much that a bug cannot be planted.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("mtsim/__init__.py", "mtsim/errors.py", "mtsim/engine", "pyproject.toml")
COPIED_TESTS = ("tests/conftest.py", "tests/engine")

# A mutant that never comes back is noticed, too: by whoever waits for the test to end.
TIMEOUT_S = 180

_NO_CODE = ("numba.core.errors.", "SyntaxError", "ImportError")

# From quick to thorough; the first that fails is the killer.
SUITE: tuple[tuple[str, ...], ...] = (
    ("-m", "tests.engine.differential", "--messages", "60000", "--seeds", "6", "--no-shrink"),
    ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/engine/test_edge_cases.py"),
    ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/engine/test_laws.py"),
)


class Mutant(NamedTuple):
    """A bug: in `file` the text `old`, found exactly once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MATCHING = "mtsim/engine/matching.py"
LADDER = "mtsim/engine/ladder.py"
AUCTION = "mtsim/engine/auction.py"
LAYOUT = "mtsim/engine/layout.py"

MUTANTS = (
    Mutant(
        "an order of no lots is fine (off by one)",
        MATCHING,
        "and U(lots - 1) < U(MAX_LOTS)",
        "and U(lots) < U(MAX_LOTS)",
    ),
    Mutant(
        "the last in line trades first",
        MATCHING,
        "maker = np.int64(a32[U(level * 2)])",
        "maker = np.int64(a32[U(level * 2 + 1)])",
    ),
    Mutant(
        "a trade is at the taker's price",
        MATCHING,
        "fills[U(fill + 3)] = (maker_tick & 0xFFFFFFFF)",
        "fills[U(fill + 3)] = ((reach if side == 0 else -reach) & 0xFFFFFFFF)",
    ),
    Mutant(
        "a cancelled best level stays the best",
        LADDER,
        "        best = next_level(a64, o, side, key)\n",
        "        best = key\n",
    ),
    Mutant(
        "a better order does not move the touch",
        LADDER,
        "a64[U(o + BEST + side)] = max(key, a64[U(o + BEST + side)])",
        "a64[U(o + BEST + side)] = a64[U(o + BEST + side)]",
    ),
    Mutant(
        "an iceberg keeps its place with its next slice",
        LADDER,
        "    if after != 0:\n        a32[U(level * 2)] = after",
        "    if after < 0:\n        a32[U(level * 2)] = after",
    ),
    Mutant(
        "self-trade prevention cancels the wrong one",
        MATCHING,
        "elif stp == CANCEL_NEWEST:",
        "elif stp == CANCEL_OLDEST:",
    ),
    Mutant(
        "fill-or-kill does not count hidden lots",
        MATCHING,
        "            found += hidden\n",
        "            found += 0\n",
    ),
    Mutant(
        "a replace that grows keeps its place",
        MATCHING,
        "if key == named_key and lots <= previous and",
        "if key == named_key and lots <= previous + 1 and",
    ),
    Mutant(
        "a duplicate id is the reason before all others",
        MATCHING,
        "if reject == ACCEPTED and handles == 0:",
        "if handles == 0:",
    ),
    Mutant(
        "a partial fill leaves the level's total",
        MATCHING,
        "a64[U(level + 1)] -= taken",
        "a64[U(level + 1)] -= 0",
    ),
    Mutant(
        "an order that leaves takes those behind along",
        LADDER,
        "a32[U(r + before * ORDER_WORDS + NEXT)] = after",
        "a32[U(r + before * ORDER_WORDS + NEXT)] = 0",
    ),
    Mutant(
        "a slot is not given back",
        LADDER,
        "& 0x7FFFFFFF) << 32\n    give_slot(a32, a64, o, r, slot)\n",
        "& 0x7FFFFFFF) << 32\n",
    ),
    Mutant(
        "an id is deleted without closing the gap",
        LADDER,
        "if ((position - home) & last) >= ((position - gap) & last):",
        "if ((position - home) & last) < 0:",
    ),
    Mutant(
        "a level that leaves the window loses its total",
        LADDER,
        "        a64[U(entry + 2)] = a64[U(level + 1)]\n",
        "        a64[U(entry + 2)] = 0\n",
    ),
    Mutant(
        "the window takes in one level too few",
        LADDER,
        "a64[U(first + 3 * (parked - 1))] >= floor:",
        "a64[U(first + 3 * (parked - 1))] > floor:",
    ),
    Mutant(
        "a balanced auction takes the highest price",
        AUCTION,
        "    if demand > volume:\n",
        "    if demand >= volume:\n",
    ),
    Mutant(
        "the younger order of an uncross is the maker",
        AUCTION,
        "if a64[U(places + ask)] < a64[U(places + bid)]:",
        "if a64[U(places + ask)] > a64[U(places + bid)]:",
    ),
    Mutant(
        "what an immediate-or-cancel order leaves rests",
        MATCHING,
        "if lots > 0 and kind != MARKET and tif == GTC:",
        "if lots > 0 and kind != MARKET and tif != FOK:",
    ),
    Mutant(
        "a book that grows forgets who came first",
        LAYOUT,
        "_copy(block, target, PLACES, block[CAPACITY])",
        "_copy(block, target, PLACES, 1)",
    ),
)


class Verdict(NamedTuple):
    mutant: Mutant | None  # None: the engine as it is
    killer: str  # '' for a survivor
    seconds: float


def judged(mutant: Mutant | None) -> Verdict:
    """Run the suite on a copy of the repository with this bug in it, until a test fails."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in (*COPIED, *COPIED_TESTS):
            _copy(REPOSITORY / name, copy / name)
        if mutant is not None:
            path = copy / mutant.file
            path.write_text(planted(path.read_text(), mutant))
        environment = os.environ | {
            "PYTHONPATH": str(copy),
            # A cache of its own: a mutant must not run the sound engine, nor the other way round.
            "NUMBA_CACHE_DIR": str(copy / "cache"),
        }
        for command in SUITE:
            killer = _killer(command, copy, environment)
            if killer:
                return Verdict(mutant, killer, time.monotonic() - began)
    return Verdict(mutant, "", time.monotonic() - began)


def planted(source: str, mutant: Mutant) -> str:
    """The source with the bug in it."""
    found = source.count(mutant.old)
    if found != 1:
        raise SystemExit(
            f"mutants: cannot plant {mutant.name!r}: {mutant.file} has {found} times\n"
            f"    {mutant.old}\n"
            f"where it must have it once. Bring MUTANTS up to date with the engine."
        )
    return source.replace(mutant.old, mutant.new)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _killer(command: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """What failed, '' if nothing did."""
    name = next((part for part in command if part.startswith("tests")), command[0])
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # A mutant that never ends may do so in a process of its own.
            os.killpg(process.pid, signal.SIGKILL)
            return f"{name} (no end)"
    if process.returncode == 0:
        return ""
    if process.returncode < 0:
        return f"{name} (signal {-process.returncode})"
    if any(sign in said for sign in _NO_CODE):
        # Numba refused it, so no test has noticed anything.
        raise SystemExit(f"a mutant does not compile:\n{said[-2000:]}")
    failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    return failed.group(1) if failed else name


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="mutants.py", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="the name of one mutant")
    arguments = parser.parse_args(argv)
    chosen = [mutant for mutant in MUTANTS if arguments.only in (None, mutant.name)]
    for mutant in chosen:
        planted((REPOSITORY / mutant.file).read_text(), mutant)

    n_killed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for verdict in pool.map(judged, [None, *chosen]):
            if verdict.mutant is None:
                if verdict.killer:
                    pool.shutdown(cancel_futures=True)
                    sys.stdout.write(f"the engine as it is fails in {verdict.killer}\n")
                    return 1
                sys.stdout.write(f"{verdict.seconds:6.1f} s  the engine as it is passes\n")
                continue
            n_killed += bool(verdict.killer)
            killer = f"killed by {verdict.killer}" if verdict.killer else "SURVIVED"
            sys.stdout.write(f"{verdict.seconds:6.1f} s  {verdict.mutant.name}: {killer}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{n_killed}/{len(chosen)} killed\n")
    return 0 if n_killed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
