# The way in: `make run` and `make test` set everything up on a machine that has Python 3.11, pip and make.
PYTHON ?= python3
BIN := .venv/bin

# The name of the stamp holds everything an environment depends on, so a stale .venv (other pins, another
# interpreter, a moved folder, an install that was cut short) has no stamp and is made anew.
KEY := $(shell { cat pyproject.toml pins.txt; pwd -P; $(PYTHON) --version; } 2>&1 | cksum | cut -d' ' -f1)
STAMP := .venv/.ready-$(KEY)

.PHONY: run test slow lint bench docs wheel clean
.DEFAULT_GOAL := run

run: $(STAMP)
	@$(BIN)/mtsim validate scenarios/*.yaml
	@mkdir -p runs
	@$(BIN)/mtsim run calm --seed 7 --figure runs/calm.png
	@$(BIN)/mtsim twin calm --seeds 0:8 --participation 0.1 --figure runs/impact.png

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadgroup --durations=10

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow --durations=10

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m bench --benchmark-columns=min,median,max,rounds

docs: $(STAMP)
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf .venv build dist docs/_build mtsim.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks

$(STAMP): pyproject.toml pins.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mtsim needs Python 3.11 or newer, and $(PYTHON) is older or missing: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up .venv (once; about two minutes)" >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c pins.txt -e ".[data,dev]" >&2
	@touch $@
