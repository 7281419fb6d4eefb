# OncoNet: `make demo` shows it, `make test` checks it, `make help` lists the rest.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
OUT  ?= report
JOBS ?= 2

PY  := .venv/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --no-input $(if $(wildcard .venv/.demo),-q) -c constraints.txt

# What a shell may bring along that would reach into another Python
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PIP_TARGET PIP_PREFIX PIP_USER VIRTUAL_ENV
export PYTHONNOUSERSITE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lab docs bench tables readme export wheel clean distclean

help:      ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: .venv/.demo      ## The whole path on 128 leukaemia patients and a simulated cohort; writes OUT=report
	@.venv/bin/onconet demo --out "$(OUT)"
	@echo "Look at $(OUT)/index.html in a browser."

test: .venv/.dev      ## Every check: notebooks, project, wheel, site (JOBS=2 at a time; ARGS go to pytest)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) $(ARGS)

lab: .venv/.dev      ## JupyterLab on the notebooks
	@$(PY) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) nbs

docs: .venv/.dev      ## The site, into _site (Quarto where it is installed, else smalldocs)
	@$(PY) docs/build_site.py
	@echo "Look at _site/index.html in a browser."

bench: .venv/.dev      ## How long things take on this machine, and ratios against alternatives; rows to results/speed.csv, loaders.csv, encoders.csv and agents.csv
	@$(PY) tests/bench.py --out results $(ARGS)
	@$(PY) tests/bench_encoders.py --out results
	@$(PY) tests/bench_treatment.py --out results

tables: .venv/.demo      ## The studies at full length: the rows in results/ behind the README's tables
	@.venv/bin/onconet tables --out results

readme: .venv/.dev      ## README.md from nbs/index.ipynb
	@$(PY) docs/build_readme.py

export: .venv/.dev      ## After an edit: onconet/ from the notebooks, notebooks cleaned, README made
	@.venv/bin/nbdev-export && .venv/bin/nbdev-clean && touch .venv/.demo .venv/.dev
	@$(PY) docs/build_readme.py

wheel: .venv/.dev      ## The package, into dist/
	@$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build && ls dist

clean:      ## Remove what was made, but not .venv
	rm -rf report _site _proc build dist onconet.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +

distclean: clean      ## Remove .venv too
	rm -rf .venv

.venv/.demo: settings.ini setup.py pyproject.toml constraints.txt | $(PY)
	@echo "Installing OncoNet into .venv (minutes the first time: torch is large)"
	$(PIP) -e .
	@touch $@

.venv/.dev: settings.ini setup.py pyproject.toml constraints.txt | $(PY)
	@echo "Installing OncoNet and what its checks need into .venv (minutes the first time: torch is large)"
	$(PIP) -e '.[dev]'
	@touch $@ .venv/.demo

$(PY):
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "OncoNet needs Python 3.11 or newer; $(if $(PYTHON),$(PYTHON) is $$("$(PYTHON)" -V 2>&1),none was found)."; \
	  echo "Name one that is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
