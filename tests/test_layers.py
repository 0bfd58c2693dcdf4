"""Imports point down: the layers of the architecture, held against every import in the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mtsim"

# From the bottom up. Boxes of one row do not see one another.
LAYERS = [
    ["mtsim.errors", "mtsim.__init__"],
    ["mtsim.streams"],
    ["mtsim.streams_numba", "mtsim.scenario"],
    ["mtsim.engine", "mtsim.kernels"],
    ["mtsim.flow"],
    ["mtsim.world", "mtsim.model"],
    ["mtsim.env", "mtsim.evaluation"],
    ["mtsim.agents"],
    ["mtsim.build", "mtsim.bench"],
    ["mtsim.cli"],
    ["mtsim.__main__"],
]
HEIGHT = {box: height for height, row in enumerate(LAYERS) for box in row}


def box_of(module: str) -> str | None:
    """The box a module lies in; `mtsim` alone is the package's own light name space."""
    parts = module.split(".")
    return "mtsim.__init__" if parts == ["mtsim"] else ".".join(parts[:2])


def imports_of(source: str) -> list[str]:
    """Every mtsim module that a source imports, at the top or inside a function, types included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "mtsim":
            # `from mtsim import streams` names a module; `from mtsim import __version__` does not.
            found += [
                f"mtsim.{alias.name}" if f"mtsim.{alias.name}" in HEIGHT else "mtsim"
                for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return [name for name in found if name.split(".")[0] == "mtsim"]


def violations(module: str, source: str) -> list[str]:
    here = box_of(module)
    found = []
    for target in imports_of(source):
        there = box_of(target)
        if here not in HEIGHT or there not in HEIGHT:
            found.append(f"{module} imports {target}: no layer is known for one of them")
        elif there != here and HEIGHT[there] >= HEIGHT[here]:
            found.append(f"{module} imports {target}, which is not below it")
    return found


def modules() -> dict[str, Path]:
    # `rglob` follows no links, so each linked folder is walked by itself.
    folders = [PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_symlink())]
    files = {file for folder in folders for file in folder.rglob("*.py")}
    names = {}
    for file in sorted(files):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts)
        names[name if len(parts) == 2 else name.removesuffix(".__init__")] = file
    return names


@pytest.mark.parametrize(("module", "file"), modules().items(), ids=list(modules()))
def test_imports_point_down(module, file):
    assert violations(module, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mtsim.engine.book", "from mtsim.flow.base import Flow"),
        ("mtsim.engine.book", "def f():\n    import mtsim.cli.app"),
        ("mtsim.world.world", "from mtsim.model.flow import DecoderFlow"),
        ("mtsim.errors", "from mtsim import streams"),
        ("mtsim.engine.book", "from mtsim.helpers import f"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(module, source):
    assert len(violations(module, source)) == 1


def test_only_the_numba_twin_of_the_streams_may_follow_them():
    assert violations("mtsim.streams_numba", "from mtsim import streams") == []
    assert violations("mtsim.flow.base", "from mtsim.engine.book import Book") == []
