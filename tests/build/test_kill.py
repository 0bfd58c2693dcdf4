"""kill -9 at no chosen moment: nothing acknowledged is lost, and the end is the same."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtsim.build.execute import execute
from mtsim.build.run_store import acknowledged, is_run, open_run
from mtsim.scenario import load
from mtsim.scenario.catalogue import find

ROOT = Path(__file__).parent.parent.parent

SCENARIO = ("calm", "session.duration=400s", "shocks=[{type: mass_cancel, at: 200s}]")
OPENING_MESSAGES = 1_000

# Some 40,000 events, acknowledged eighty times.
CHECKPOINT = "5s"

# Of a process, before it begins to write.
STARTUP_S = 1.0


def command(out: Path) -> list[str]:
    name, *changes = SCENARIO
    options = ["--seed", "3", "--out", str(out), "--checkpoint", CHECKPOINT]
    laid_over = [word for change in changes for word in ("--set", change)]
    return [sys.executable, "-m", "mtsim", "run", name, *options, *laid_over]


def finish(out: Path) -> str:
    """The tape's hash after the run in this folder has come to its end."""
    resolved = load(find(SCENARIO[0]), SCENARIO[1:], 3)
    kept = len(acknowledged(out)[1]) if is_run(out) else 0
    done = execute(resolved, out, checkpoint_ns=10**18)
    assert done.events_run == done.outcome["events"] - max(0, kept - OPENING_MESSAGES)
    return open_run(out).tape.hash()


def kill_after(seconds: float, out: Path) -> bool:
    """Kill the run so long after it has begun to write; whether it was still running."""
    with subprocess.Popen(
        command(out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not out.exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(seconds)
        was_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
    return was_running


def campaign(folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill running runs so often, up to three times each before it may finish; how many kills met
    one that had acknowledged something, and how many lost any of it or led to another end."""
    expected = finish(folder / "whole")
    begun = time.monotonic()
    subprocess.run(command(folder / "timed"), cwd=ROOT, capture_output=True, check=True)
    longest_s = max(0.3, time.monotonic() - begun - STARTUP_S)
    generator = random.Random(seed)
    had = lost = number = 0
    while kills:
        out = folder / str(number)
        number += 1
        for _ in range(min(3, kills)):
            before = len(acknowledged(out)[1]) if is_run(out) else 0
            if not kill_after(generator.uniform(0, longest_s), out):
                break  # It had come to its end: no point of the campaign.
            kills -= 1
            kept = len(acknowledged(out)[1]) if is_run(out) else 0
            had += kept > 0
            lost += kept < before
        lost += finish(out) != expected
    return had, lost


def test_a_killed_run_loses_nothing(tmp_path):
    assert campaign(tmp_path, kills=2, seed=1)[1] == 0


@pytest.mark.slow
def test_twenty_five_kills_lose_nothing(tmp_path, capsys):
    had, lost = campaign(tmp_path, kills=25, seed=2)
    with capsys.disabled():
        said = f"{had} of them with something acknowledged, {lost} lost"
        sys.stdout.write(f"\nkill -9: 25 points tried, {said}\n")
    assert had >= 5
    assert lost == 0
