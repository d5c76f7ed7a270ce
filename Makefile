# The project's commands; `make` alone lists them. They run in .venv, which is made on first use with the versions in
# constraints.txt and brought up to date when that file or pyproject.toml changes. Needed: Python >= 3.11 and make.

# The interpreters to try for a new .venv. One of your own: `make clean`, then `make test PYTHON=/path/to/python`.
PYTHON ?= python3 python3.13 python3.12 python3.11
# The oldest Python that the project supports.
OLDEST := 3.11

PY := .venv/bin/python
INSTALLED := .venv/.installed
# `torch==...`, as constraints.txt has it
TORCH := $(shell grep '^torch==' constraints.txt)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# Two test processes of one thread each; `loadscope` keeps the cells of a notebook in one process, in order.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadscope

# Uploads reach the explorer's page in one message, of which 10 MB would be the limit.
VOILA ?= --Voila.tornado_settings="{'websocket_max_message_size': 104857600}"

# PyTorch's waiting threads give the core back soon: see singan_core/__init__.py.
export GOMP_SPINCOUNT ?= 2000

.PHONY: help reproduce test test-unit test-system test-notebooks test-browser notebooks pretrained student bench gpu-check lab explorer lint lock clean
.NOTPARALLEL:

help: ## list the commands
	@awk -F ': *[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

reproduce: $(INSTALLED) ## run the notebooks that need it and write figures/ with the report
	$(PY) -m singan_core reproduce

test: test-unit test-system test-notebooks ## all tests

# The longest files first, as tests/conftest.py has them, not those with the most tests.
test-unit: $(INSTALLED) ## the unit and property tests
	$(PYTEST) --no-loadscope-reorder -m "not system" tests --ignore tests/browser

test-system: $(INSTALLED) ## the tests that start clusters, kernels and other processes, interrupt them, or measure
	$(PYTEST) --no-loadscope-reorder -m system tests --ignore tests/browser

# The notebooks at the profile for tests, where they train, and at the one that they are published at, where they find
# their pyramids shipped: nothing may be in the run store afterwards. figures/ stays as it is.
test-notebooks: $(INSTALLED) ## run every notebook, at profiles smoke and laptop; an error in a cell is a failure
	@rm -rf build/test
	for profile in smoke laptop; do \
		SINGAN_PROFILE=$$profile SINGAN_RUNS="$(CURDIR)/build/test/runs-$$profile" \
		SINGAN_FIGURES="$(CURDIR)/build/test/figures" \
		$(PYTEST) --nbval-lax --nbval-current-env --nbval-cell-timeout 300 notebooks || exit 1; \
	done
	@if ls build/test/runs-laptop/* 2>/dev/null; then \
		echo "A notebook trained a pyramid that is not shipped: make pretrained"; exit 1; fi

# Screenshots stay in build/browser, to be looked at. A browser is needed: Debian, Ubuntu: sudo apt install chromium
test-browser: $(INSTALLED) ## test explorer, sketch pad and survey in headless Chromium, as pages and in JupyterLab
	@$(PY) -c 'import playwright' 2>/dev/null || $(PY) $(PIP_INSTALL) -c constraints.txt -e '.[browser]'
	OMP_NUM_THREADS=1 $(PY) -m pytest -rs tests/browser

notebooks: $(INSTALLED) ## run the notebooks at profile laptop and put the outputs into them, as they are committed
	$(PY) -m singan_core reproduce --publish

pretrained: $(INSTALLED) ## train what the notebooks need and write it to data/pretrained/ (hours; resumes)
	$(PY) -m singan_core.pretrained

student: $(INSTALLED) ## write build/student/, the notebooks without solutions, and prove that they can be handed out
	OMP_NUM_THREADS=1 $(PY) -m singan_core.student

bench: $(INSTALLED) ## measure speed, memory, scaling, quality (hours; resumes); some of it: make bench BENCH="speed memory"
	$(PY) -m benchmarks $(BENCH)

gpu-check: $(INSTALLED) ## with a CUDA device: its tests, benchmarks and some trainings, in 9 minutes
	$(PY) -m benchmarks.gpu_check --out build/gpu

lab: $(INSTALLED) ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

explorer: $(INSTALLED) ## open the injection-scale explorer as a page
	$(PY) -m voila singan_core/templates/explorer.ipynb $(VOILA)

lint: $(INSTALLED) ## check style and format with ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# `--python-version` stands for the very first release of that Python: a version that needs a later one is passed over.
lock: ## write constraints.txt anew with the newest versions; torch stays, or TORCH=torch==x.y.z
	@echo "Resolving the newest versions for Python $(OLDEST) ..."
	@rm -rf build/lock
	@python$(OLDEST) -m venv build/lock
	@build/lock/bin/python $(PIP_INSTALL) --dry-run --ignore-installed --target build/lock/none --only-binary=:all: \
		--python-version $(OLDEST) --report build/lock/report.json $(TORCH) '.[course,dev,browser]'
	@echo '# Exact versions of all that `make` installs, for Python $(OLDEST) and newer; written by `make lock`' \
		> build/lock/new
	@build/lock/bin/python -c 'import json; \
		found = [item["metadata"] for item in json.load(open("build/lock/report.json"))["install"]]; \
		lines = [m["name"].lower() + "==" + m["version"].split("+")[0] for m in found if m["name"] != "singan-core"]; \
		print(*sorted(lines), sep="\n")' >> build/lock/new
	@mv build/lock/new constraints.txt

clean: ## remove .venv, build/ and caches; trained pyramids in runs/ stay
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Torch comes first and alone: asked for by its exact version, pip also takes a local build such as 2.13.0+cpu, and
# the packages that follow leave it in place. A .venv that somebody has made is kept and completed; one of which the
# set-up was interrupted here is marked, and made anew.
$(INSTALLED): pyproject.toml constraints.txt
	@if [ -x $(PY) ] && [ ! -e .venv/.unfinished ]; then echo "Completing .venv ..."; exit; fi; \
	for python in $(PYTHON) none; do \
		$$python -c 'import ensurepip, sys, venv; \
			sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))' 2>/dev/null && break; \
	done; \
	if [ $$python = none ]; then \
		echo "No Python >= $(OLDEST) that can make virtual environments among: $(PYTHON)."; \
		echo "Install one (Debian, Ubuntu: sudo apt install python3 python3-venv)" \
			"or name one: make PYTHON=/path/to/python"; \
		exit 1; \
	fi; \
	echo "Setting up .venv with $$python (once, about 2 minutes) ..."; \
	rm -rf .venv && mkdir .venv && touch .venv/.unfinished && $$python -m venv .venv
	@rm -f $@
	@$(PY) $(PIP_INSTALL) -c constraints.txt $(TORCH)
	@$(PY) $(PIP_INSTALL) -c constraints.txt -e '.[course,dev]'
	@rm -f .venv/.unfinished
	@touch $@
