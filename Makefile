# The commands of the project; `make` alone lists them.
#
# A machine needs Python 3.11 or later with pip, and nothing else: .venv holds all the rest.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install chromium daemons run network test check openapi bench clean

# 3.12 and 3.11 first, because the wheel that carries Redis ends there.
ifndef PYTHON
PYTHON := $(shell for python in python3.12 python3.11 python3 python3.13 python3.14 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)
endif
BIN := .venv/bin
PIP_INSTALL := install -q --disable-pip-version-check

# Production settings, as `check --deploy` should see them; nothing here is a real secret.
PRODUCTION := env -u DEBUG -u ISPOPS_DEMO -u SECURE_COOKIES ALLOWED_HOSTS=isp.example \
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))')
PLAIN := DEBUG=1 SECRET_KEY=checks-only

help:  ## List the commands
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/make \1|\2/p' Makefile | \
		while IFS='|' read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

install:  ## Make .venv with the pinned packages, when requirements.txt or pyproject.toml changed
	@if cat requirements.txt pyproject.toml | cmp -s - .venv/installed && $(BIN)/python -c '' 2>/dev/null; \
		then exit 0; fi; \
	if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or later is missing: install it (for example: apt install python3 python3-pip)." >&2; \
		exit 1; fi; \
	echo "Installing the pinned packages into .venv (about a minute, the first time only) ..."; \
	$(BIN)/python -c '' 2>/dev/null || rm -rf .venv; \
	if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv .venv && pip="$(BIN)/python -m pip"; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --without-pip .venv && pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	else \
		echo "pip is missing for $(PYTHON): install it (for example: apt install python3-pip)." >&2; false; \
	fi && $$pip $(PIP_INSTALL) -r requirements.txt && $$pip $(PIP_INSTALL) --no-deps --no-build-isolation -e . \
	&& cat requirements.txt pyproject.toml >.venv/installed

chromium: install
	@$(BIN)/python tests/chromium.py

daemons: install
	@PYTHONPATH=. $(BIN)/python tests/daemons.py

run: install  ## Start everything; Ctrl-C stops it (PORT=8000, DATABASE_URL, REDIS_URL)
	@exec env ISPOPS_DEMO=$${ISPOPS_DEMO:-1} $(BIN)/python -m ispops.supervisor

network: install  ## Start FreeRADIUS in front of the running application; Ctrl-C stops it
	@exec $(BIN)/python -m ispops.network

test: check chromium daemons  ## Check everything and run all tests (TESTS="tests/ipam -k lease")
	@$(BIN)/pytest -q -n 2 --dist loadgroup $(TESTS)

check: install  ## Format, lint, types, layers, migrations, deployment settings
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(PLAIN) $(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(PLAIN) $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	@$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

openapi: install  ## Write the API's contract to ispops/openapi.yaml, after a change that is meant
	@$(PLAIN) $(BIN)/python manage.py spectacular --file ispops/openapi.yaml --validate --fail-on-warn

bench: install  ## Measure (ONLY=name QUICK=1 JSON=1)
	@$(BIN)/python -m ispops.bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(JSON),--json)

clean:  ## Remove .venv and everything that tools left; your data in .data stays
	@rm -rf .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .data/test
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
