# stepdown's commands; `make help` lists them. What they install stays in this folder, nearly all of it in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS ?=
ARGS   ?=
# The lock pins torch by version only. If your index serves Linux a file with CUDA, name a CPU build here.
TORCH  ?= torch==2.13.0

PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --progress-bar off
# A locked install accepts only files with a hash from the lock: nothing is resolved or built.
LOCKED  := $(INSTALL) --no-deps --only-binary :all: --require-hashes
section  = awk -v want='$(1)' '/^\# == / { on = ($$3 == want) } on' requirements.lock > $(VENV)/$(1).txt

LEARN := $(if $(filter learn,$(EXTRAS)),$(VENV)/.learn)
CLUSTER := $(if $(filter cluster,$(EXTRAS)),$(VENV)/.cluster)
NODE  := tests/clients/node

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help env demo test coverage soak lint lock promtool clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  EXTRAS=learn adds torch and sentence-transformers to env and test;"
	@echo "  EXTRAS=cluster what many machines need; ARGS goes to demo and pytest"

env: $(VENV)/.project $(LEARN) $(CLUSTER) ## make the environment (.venv) from the lock file

demo: $(VENV)/.project ## watch a gateway get cheaper: simulated teacher, no key
	$(BIN)/stepdown demo $(ARGS)

test: lint $(VENV)/.clients ## lint, then every test
	$(BIN)/python -m pytest -n 4 --dist loadgroup $(ARGS)

coverage: $(VENV)/.project $(LEARN) $(VENV)/.clients ## every test again, and which lines and branches they reach
	$(BIN)/python -m pytest -n 4 --dist loadgroup --cov --cov-report=term $(ARGS)

soak: $(VENV)/.test $(VENV)/.project ## 10,000 runs in virtual time, with faults; 150 kill -9
	SIMULATION_SEEDS=10000 $(BIN)/python -m pytest tests/simulation $(ARGS)
	PARTS_KILLS=150 $(BIN)/python -m pytest tests/harvest/parts/test_kills.py $(ARGS)

lint: $(VENV)/.test $(VENV)/.project $(LEARN) ## ruff, mypy --strict and the import rules between the rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(VENV)/.test ## renew requirements.lock for every platform (uv)
	.ci/lock $(BIN)/uv

promtool: $(VENV)/.made ## fetch Prometheus' rule checker, which tests the alerts (Debian)
	mkdir -p $(VENV)/debian && cd $(VENV)/debian && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .
	ln -sf ../debian/usr/bin/promtool $(BIN)/promtool

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

# Other vendors' clients, which are tested against the gateway.
$(VENV)/.clients: requirements.lock $(NODE)/package-lock.json $(VENV)/.test
	@echo "installing the clients to test with ..."
	@$(call section,clients)
	@$(LOCKED) -r $(VENV)/clients.txt
	@npm ci --prefix $(NODE) --silent || echo "npm is absent or failed: the clients for Node will not be tested"
	@touch $@

$(VENV)/.cluster: requirements.lock $(VENV)/.serve
	@echo "installing what many machines need ..."
	@$(call section,cluster)
	@$(LOCKED) -r $(VENV)/cluster.txt
	@touch $@

$(VENV)/.learn: requirements.lock $(VENV)/.serve
	@echo "installing what learning needs ..."
	@$(call section,learn)
	@$(LOCKED) -r $(VENV)/learn.txt
	@$(INSTALL) '$(TORCH)'
	@touch $@
