"""Two thousand damaged scenario files: each is refused in its place, at once, with no traceback."""

import random
import time
from functools import cache

import pytest

from mtsim.cli import app
from mtsim.cli.verbs.init import TEMPLATE
from mtsim.scenario.catalogue import shipped

FILES = 2_000
BATCH = 50
VALUES = [
    *("-1", "1e999", ".nan", ".inf", "99999999999999999999", "9" * 5000, "0x", "''", "[]", "{x: }"),
    *("[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "{a: {b: {c: 1}}}", "- 1", "~x", "soon"),
    *("5parsec", "-3s", "1.5ns", "{uniform: [2, 1]}", "{choice: []}", "{lognormal: [0, 0]}"),
    *("!!python/object/apply:os.system ['true']", "!!binary aGk=", "*nowhere", "&a [*a]"),
    *("'\x00'", "\u202eabc", "\u2028", "\ud83d\ude00", "|\n  text", "%", "@", "`", "- -", "? :"),
]
KEYS = ["sede", "durration", "<<", "extends", "__class__", "fl\u00f6w", "1", "''", "a.b"]


def _valued(lines: list[str]) -> list[int]:
    """Lines with a value. A name or a description may be any text: hardly one is wrong."""
    free = ("description", "name")
    return [
        i for i, line in enumerate(lines) if ": " in line and not line.strip("- ").startswith(free)
    ]


@cache
def _sources() -> list[list[str]]:
    """The lines of every scenario in which something can be wrong."""
    texts = [TEMPLATE, *(file.read_text(encoding="utf-8") for file in shipped())]
    # Comments and blank lines would swallow a mutation; what extends a file would not find it here.
    kept = [
        [
            line.split(" #")[0]
            for line in text.splitlines()
            if line.strip() and not line.startswith(("#", "extends"))
        ]
        for text in texts
    ]
    return [lines for lines in kept if _valued(lines)]


def damaged(number: int) -> tuple[str, bytes]:
    """The name of a mutation and a scenario file that has it."""
    rng = random.Random(number)
    lines = list(rng.choice(_sources()))
    valued = _valued(lines)
    at = rng.choice(valued)
    key, _, value = lines[at].partition(": ")
    kind = rng.choice(
        ["value", "key", "cut", "byte", "repeat", "indent", "deep", "aliases", "long"]
    )
    if kind == "value":
        lines[at] = f"{key}: {rng.choice(VALUES)}"
    elif kind == "key":
        lines[at] = f"{key[: len(key) - len(key.lstrip())]}{rng.choice(KEYS)}: {value}"
    elif kind == "repeat":
        lines.insert(at + 1, f"{key}: {value}" if key.strip()[0] != "-" else "- x: 1\n- x")
    elif kind == "indent":
        lines[at] = "\t" + lines[at]
    elif kind == "deep":
        lines[at] = f"{key}: " + "{a: " * rng.randint(20, 400) + "1" + "}" * 400
    elif kind == "aliases":
        lines += ["x: &x [1, 2, 3]", "y: [" + "*x, " * rng.randint(33, 999) + "]"]
    elif kind == "long":
        lines[at] = f"{key}: " + "x" * rng.randint(5_000, 80_000)
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if kind == "cut":
        cut = data.rfind(b"{", 0, rng.randint(1, len(data)))
        data = data[: cut + 1] if cut > 0 else data[:0]
    elif kind == "byte":
        place = rng.randrange(len(data))
        data = data[:place] + rng.choice([b"\xff", b"\x00", b"\x1b", b"\xc3("]) + data[place:]
    return kind, data


@pytest.mark.parametrize("first", range(0, FILES, BATCH))
def test_a_damaged_file_ends_in_exit_2_with_its_place(first, tmp_path, capsys):
    for number in range(first, first + BATCH):
        kind, data = damaged(number)
        file = tmp_path / f"{number}.yaml"
        file.write_bytes(data)

        began = time.perf_counter()
        code = app.run(["validate", str(file)])
        elapsed_s = time.perf_counter() - began

        captured = capsys.readouterr()
        assert code == 2, (number, kind, captured.out)
        assert "Traceback" not in captured.out + captured.err, (number, kind)
        assert elapsed_s < 1.0, (number, kind, elapsed_s)
        line, column = captured.out.removeprefix(f"{file}:").split(": ")[0].split(":")
        assert int(line) >= 1, (number, kind, captured.out)
        assert int(column) >= 1, (number, kind, captured.out)
