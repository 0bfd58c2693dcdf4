"""Sphinx: MyST Markdown, the furo theme, nothing generated from imports."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

project = "mtsim"
author = "the mtsim authors"
release = version = _PROJECT["version"]
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"mtsim {release}"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
