# Everything runs in .venv; another Python: make PYTHON=python3.12 <target>
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo-bundle
# What users may import; the rest may change without notice.
PUBLIC := hubopt.exporter hubopt.spec hubopt.errors hubopt.testing hubopt.keras3 hubopt.progress

.PHONY: help demo test test-gpu lint format bench cost mutants attack docs clean

help:
	@echo "make demo      export a published model to all four targets and print the table"
	@echo "make test      run the tests (make test-gpu: those that need an NVIDIA GPU)"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make bench     time real models against their eager layers"
	@echo "make cost      time and memory of exports beside the plain converters' (hours)"
	@echo "make mutants   plant faults in real exports and count those that are caught"
	@echo "make attack    kill exports and damage files, and count what is left and what is wrong (an hour)"
	@echo "make docs      API reference into build/docs"

demo: .venv/.installed
	rm -rf $(DEMO)
	model=$$($(BIN)/python -m benchmarks.models basic-pitch) && \
	$(BIN)/hubopt export "$$model" --target savedmodel,tflite,onnx,trt --output $(DEMO) --allow-unverified

test: .venv/.dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-gpu: .venv/.dev
	$(BIN)/python -m pytest -m gpu

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed
	$(BIN)/python -m benchmarks.real_models

cost: .venv/.installed
	$(BIN)/python -m benchmarks.export_cost

mutants: .venv/.dev
	$(BIN)/python -m benchmarks.mutation_suite

attack: .venv/.installed
	$(BIN)/python -m benchmarks.attack

docs: .venv/.dev
	$(BIN)/pip install --quiet --group docs
	$(BIN)/pdoc --docformat google --output-directory build/docs \
	  hubopt '!hubopt\..*' $(PUBLIC) '!hubopt\.exporter\..*'

clean:
	rm -rf .venv .cache build dist $(DEMO)

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "TensorFlow needs Python 3.10 to 3.13, and $(PYTHON) is $$($(PYTHON) --version)." \
	"Pass another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --editable ".[all]"
	touch $@

.venv/.dev: .venv/.installed
	$(BIN)/pip install --quiet --group dev
	touch $@
