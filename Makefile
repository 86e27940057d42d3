PYTHON ?= python3
# processes that share the tests, file by file
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
# passwords in examples and tests, which are none
NO_SECRET := //\w+:secret@
# tests are full of digests and ids
NO_ENTROPY := --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString

.PHONY: help setup demo test fuzz check serve clean
help:   ## List the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
setup: $(VENV)/.program   ## Make .venv with the program in it
demo: setup   ## Train a small encoder on drawn scenes, index a gallery, ask three questions, serve
	$(BIN)/image-retrieval demo $(ARGS)
test: check   ## Everything that CI holds: style, types, imports, all tests
	$(BIN)/pytest -m "not gpu and not fuzz and not long" -n $(WORKERS) --dist loadfile $(ARGS)
fuzz: $(VENV)/.dev   ## Make up requests, lives of a gallery and broken pictures, 20,000 and more of each
	$(BIN)/pytest -m fuzz -s $(ARGS)
check: $(VENV)/.dev   ## Format, lint, types (the page's too), imports, secrets, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.javascript
	$(BIN)/bandit --quiet --severity-level medium --recursive app db embedding migrations training
	git ls-files -z ':!tests' | xargs -0 $(BIN)/detect-secrets-hook --exclude-lines '$(NO_SECRET)'
	git ls-files -z tests | xargs -0 $(BIN)/detect-secrets-hook --exclude-lines '$(NO_SECRET)' $(NO_ENTROPY)
	$(BIN)/python .ci/audit.py
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
