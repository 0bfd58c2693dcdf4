"""YAML text becomes a tree that knows where everything stands, or an error that does."""

import pytest

from mtsim.errors import ScenarioError
from mtsim.scenario import tree
from mtsim.scenario.tree import parse


def refused(text) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml")
    (problem,) = caught.value.problems
    return f"{problem.where}: {problem.message}"


def test_every_value_knows_its_line_and_column():
    root, _ = parse("a: 1\nb:\n  - x\n  - {c: 2.5}\n", "f.yaml")
    places = {path: (node.mark.line, node.mark.column) for path, node in root.walk()}
    assert places == {
        "": (1, 1),
        "a": (1, 4),
        "b": (3, 3),
        "b[0]": (3, 5),
        "b[1]": (4, 5),
        "b[1].c": (4, 9),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1_000", 1000),
        ('"1"', "1"),
        ("'true'", "true"),
        ("2024-01-02", "2024-01-02"),
        ("09:30:00", "09:30:00"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    root, _ = parse(f"a: {text}", "f.yaml")
    got = root.value["a"].value
    assert (got, type(got)) == (value, type(value))


def test_an_alias_is_the_value_it_names():
    root, _ = parse("a: &x {b: 1}\nc: *x", "f.yaml")
    assert root.value["c"].value["b"].value == 1


def test_a_duplicate_key_is_reported_with_its_first_place_and_the_rest_is_still_read():
    root, problems = parse("a: 1\nb: 2\na: 3\n", "f.yaml")
    (problem,) = problems
    assert (problem.where, problem.path) == ("f.yaml:3:1", "a")
    assert "first in line 1" in problem.message
    assert root.value["b"].value == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "f.yaml:1:6: not valid YAML"),
        ("a:\n\tb: 1", "f.yaml:2:1: not valid YAML"),
        ("- 1", "f.yaml:1:1: a scenario is a mapping"),
        ("", "f.yaml:1:1: the file is empty"),
        ("# only a comment\n", "f.yaml:1:1: the file is empty"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a scenario is one document"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1:4: a scenario is plain data, the tag"),
        ("a: !x 1", "f.yaml:1:4: a scenario is plain data, the tag !x"),
        ("? [1, 2]\n: 3", "f.yaml:1:3: a key must be plain text"),
        ("a: *b", "f.yaml:1:4: the alias *b names no anchor"),
        ("a: &b [*b]", "f.yaml:1:8: the alias *b names no anchor"),
        ("a: x\x00", "f.yaml:1:5: the character U+0000 is not printable"),
        ("a: 1 # \u202e", "f.yaml:1:8: the character U+202E is not printable"),
        ("a: 1\u2028b: 2", "f.yaml:1:5: the character U+2028 is not printable"),
        (b"a: 1\nb: \xff", "f.yaml:2:4: byte 0xff is not UTF-8"),
        ("a: " + "9" * 70, "f.yaml:1:4: a number of more than 64 characters"),
        ("a: " + "x" * 5000, "f.yaml:1:4: a value longer than 4096 characters"),
        ("%YAML 9.9\n---\na: 1", "f.yaml:1:1: not valid YAML"),
    ],
)
def test_what_is_no_scenario_is_refused_where_it_stands(text, message):
    assert refused(text).startswith(message)


def test_limits_hold_before_the_memory_is_spent():
    laughs = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 4)
    )
    assert "more than 10000 values" in refused(laughs)
    assert "more than 32 aliases" in refused("a: &a 1\nb: [" + "*a, " * 40 + "]")
    assert "deeper than 16 levels" in refused("a: " + "[" * 40 + "]" * 40)
    assert f"the limit is {tree.MAX_BYTES}" in refused("a: 1\n" * 20_000)


def test_a_long_line_is_shown_around_the_caret():
    with pytest.raises(ScenarioError) as caught:
        parse("a: [" + "x, " * 1000 + "!t y]", "f.yaml")
    head, excerpt, caret = str(caught.value).splitlines()
    assert head.startswith("f.yaml:1:3005: a[1000]")
    assert len(excerpt) < 120
    assert excerpt[caret.index("^")] == "!"
