"""`python -m mtsim` is `mtsim`."""

from mtsim.cli.app import main

if __name__ == "__main__":
    main()
