# Everything a person does here: `make` lists it. Paths are relative: the checkout may lie anywhere.
.ONESHELL:
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.PHONY: help install venv venv-dev demo up down test lint lock clean
# A part started while Python may not write bytecode would start slowly for ever.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME

PYTHON := .venv/bin/python

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | while IFS='|' read -r target text; do
		printf '%-18s %s\n' "$$target" "$$text"
	done

install: venv ## the same as make venv; after a change of requirements-notebooks.txt

venv: ## make .venv with everything locked in requirements.txt
	@sh tools/install.sh requirements.txt

venv-dev: venv
	@sh tools/install.sh requirements.txt requirements-dev.txt

demo: venv ## install, start, run the demo stream, show what it recommends
	@$(PYTHON) -m millrace.cli demo

up: venv ## start the embedded stack
	@$(PYTHON) -m millrace.cli up

down: ## stop it; the data stays
	@$(PYTHON) -m millrace.cli down

lint: venv-dev ## style, types, layers
	@$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

test: lint ## lint, then every test (they bring their own stack on free ports)
	@$(PYTHON) -m pytest

lock: venv-dev ## resolve pyproject.toml into the hashed requirements files
	@$(PYTHON) -m uv pip compile pyproject.toml --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.txt
	$(PYTHON) -m uv pip compile --group dev --universal --python-version 3.11 -c requirements.txt \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements-dev.txt

clean: ## remove .venv and caches; your data in .millrace stays
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
