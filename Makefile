PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test check serve clean
help:   ## List the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
setup: $(VENV)/.program   ## Make .venv with the program in it
demo: setup   ## Train a small encoder on drawn scenes, index a gallery, ask three questions, serve
	$(BIN)/image-retrieval demo $(ARGS)
test: check   ## Everything that CI holds: style, types, imports, all tests
	$(BIN)/pytest -m "not gpu" $(ARGS)
check: $(VENV)/.dev   ## Format, lint, types (the page's too), who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.javascript
serve: setup   ## Serve the gallery on port 8000
	$(BIN)/image-retrieval serve
clean:   ## Remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
$(VENV)/.program: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[training]"
	@touch $@
$(VENV)/.dev: $(VENV)/.program
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
