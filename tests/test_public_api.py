"""The names that others may rely on: each exists, is documented, and none appears unnoticed."""

import importlib

import pytest

from mtsim import errors

PUBLIC = {
    "mtsim": {"__version__"},
    "mtsim.scenario": {"Resolved", "Scenario", "load", "loads"},
}


@pytest.mark.parametrize("module", PUBLIC)
def test_a_package_exports_exactly_its_public_names(module):
    package = importlib.import_module(module)
    assert set(package.__all__) == PUBLIC[module]
    assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_documented(module):
    package = importlib.import_module(module)
    assert package.__doc__
    undocumented = [
        name
        for name in package.__all__
        if not name.startswith("__") and not getattr(package, name).__doc__
    ]
    assert undocumented == []


def test_every_error_stands_in_the_tree_of_the_docstring_with_its_exit_code():
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.MtsimError)
    ]
    tree = {
        line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()[0]: line
        for line in (errors.__doc__ or "").splitlines()
        if "Error" in line and "  " in line
    }
    for error in classes:
        assert f" {error.exit_code} " in tree[error.__name__], error.__name__


def test_an_error_of_ours_is_caught_by_its_root():
    with pytest.raises(errors.MtsimError):
        raise errors.MissingError("the extra `rl` is missing", 'pip install "mtsim[rl]"')
