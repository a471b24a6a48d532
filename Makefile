# Bytecode is compiled once at installation: it halves every import of a framework afterwards.
# Everything runs in a local environment under .venv; nothing is installed anywhere else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: install demo test lint types layers check benchmark scoreboard latency quantization opinfo clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group dev \
		--compile-bytecode --editable '.[all]'
	touch $(READY)

# A shipped, trained model to all four formats, verified, with a table and an HTML report.
demo: $(READY)
	$(BIN)/edgeconv convert sample_models/digits_resnet8/model.py:create \
		--weights sample_models/digits_resnet8/weights.safetensors \
		--input 'image:float32[N=1,3,32,32]' \
		--samples sample_models/digits_resnet8/test.npz \
		--name digits_resnet8 --output demo-output
	@echo "Open demo-output/report.html in a browser."

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

check: lint types layers test

benchmark: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group benchmarks
	$(BIN)/python -m benchmarks.speed

# The public model zoo through every format, drawn as docs/scoreboard.html; goes on where it was stopped.
# ZOO is the folder with models.py and peers.json; ANEW=--anew starts again.
ZOO ?= ../shared/zoo
scoreboard: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group benchmarks
	$(BIN)/python -m benchmarks.scoreboard $(ZOO) $(ANEW)

# What is delivered beside other tools' own files of the same model, on one thread; goes on where it was stopped.
latency: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group benchmarks
	$(BIN)/python -m benchmarks.latency $(ZOO) $(ANEW)

# Every recipe on the sample models beside plain use of the libraries; goes on where it was stopped.
quantization: $(READY)
	$(BIN)/python -m benchmarks.quantization $(ANEW)

# PyTorch's own OpInfo samples through all of our writers; goes on where it was stopped.
opinfo: $(READY)
	$(BIN)/python -m benchmarks.opinfo

clean:
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
