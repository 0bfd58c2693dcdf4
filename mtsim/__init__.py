"""mtsim: a closed-loop market simulator driven by a learned order flow.

This package's own name space is light: it loads neither torch nor numba. The parts are modules
(`from mtsim.engine.book import Book`), and the modules are the interface.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mtsim")
except PackageNotFoundError:  # A checkout on the path that nobody installed.
    __version__ = "0.0.0+uninstalled"

__all__ = ["__version__"]
