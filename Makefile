# stepdown's commands; `make help` lists them. Everything lands in .venv, nothing outside this folder.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS ?=
ARGS   ?=
# The lock pins torch by version only. On an index whose Linux file brings CUDA along, name a CPU build here.
TORCH  ?= torch==2.13.0

PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --progress-bar off
# A locked install takes exactly the files whose hashes are in the lock: nothing is resolved or built.
LOCKED  := $(INSTALL) --no-deps --only-binary :all: --require-hashes
section  = awk -v want='$(1)' '/^\# == / { on = ($$3 == want) } on' requirements.lock > $(VENV)/$(1).txt

COMPILE := $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml
# Names each input as a section, and leaves out what an earlier section has line for line.
define JOIN
FNR == 1 { sub(/\.txt$$/, "", FILENAME); print "\n# == " FILENAME }
/^[^ ]/ { is_new = !seen[$$0]++ }
is_new
endef
export JOIN

LEARN := $(if $(filter learn,$(EXTRAS)),$(VENV)/.learn)
NODE  := tests/clients/node

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help env demo test lint lock clean

help: ## list what make can do here
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  with EXTRAS=learn, env and test add torch and sentence-transformers; ARGS reaches demo and pytest"

env: $(VENV)/.project $(LEARN) ## make the environment (.venv) from the lock file

demo: $(VENV)/.project ## watch a gateway get cheaper: simulated teacher, no key, under 90 s
	$(BIN)/stepdown demo $(ARGS)

test: lint $(VENV)/.clients ## lint, then every test with its coverage
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

lint: $(VENV)/.test $(VENV)/.project $(LEARN) ## ruff, mypy --strict, and the rules between the rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(VENV)/.test ## renew requirements.lock (uv, for every platform and Python from 3.11 on)
	$(COMPILE) --group build > $(VENV)/serve.txt
	$(COMPILE) --group build --group test --constraint $(VENV)/serve.txt > $(VENV)/test.txt
	$(COMPILE) --group build --group test --extra learn --constraint $(VENV)/test.txt \
	  --no-emit-package torch > $(VENV)/learn.txt
	$(COMPILE) --group build --group test --group clients --constraint $(VENV)/learn.txt > $(VENV)/clients.txt
	{ echo "# Written by make lock: every file stepdown installs, by hash. A section holds what the ones"; \
	  echo "# before it do not (clients: what serve and test do not); torch is locked by version only, in"; \
	  echo "# pyproject.toml."; \
	  cd $(VENV) && awk "$$JOIN" serve.txt test.txt learn.txt && \
	  awk "$$JOIN" serve.txt test.txt clients.txt | awk '/^# == clients/, 0'; } > $(VENV)/new.lock
	mv $(VENV)/new.lock requirements.lock

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) $(NODE)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stepdown needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: requirements.lock $(VENV)/.made
	@echo "installing what serving needs ..."
	@$(call section,serve)
	@$(LOCKED) -r $(VENV)/serve.txt
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.serve
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements.lock $(VENV)/.serve
	@echo "installing what the tests need ..."
	@$(call section,test)
	@$(LOCKED) -r $(VENV)/test.txt
	@touch $@

# The official clients of other houses, which the tests let talk to the gateway.
$(VENV)/.clients: requirements.lock $(NODE)/package-lock.json $(VENV)/.test
	@echo "installing clients to be tested with ..."
	@$(call section,clients)
	@$(LOCKED) -r $(VENV)/clients.txt
	@npm ci --prefix $(NODE) --silent || echo "npm is absent or failed: the clients for Node will not be tested"
	@touch $@

$(VENV)/.learn: requirements.lock $(VENV)/.serve
	@echo "installing what learning needs ..."
	@$(call section,learn)
	@$(LOCKED) -r $(VENV)/learn.txt
	@$(INSTALL) '$(TORCH)'
	@touch $@
