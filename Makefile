# What a person types. Each target says in one line what it does; `make` alone lists them.
# After `make setup` plain cargo works as well: cargo build, run, test, clippy.

.DEFAULT_GOAL := help
.PHONY: help setup build run test check bench attack clients evaluation exporter packages rollouts stores watching inputs models train fixtures image
# The cache is shared, and cargo uses all cores by itself.
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: ## check what must be there, fetch libtorch (540 MB, once), tell cargo where it is
	@echo "setup: cargo, C++ compiler, Python with pip, libtorch"
	@scripts/setup

build: setup ## build the release program
	@echo "build: the release program (some minutes the first time)"
	@cargo build --release --locked

run: setup ## build it and serve the example models on 127.0.0.1:8080
	@echo "run: sconce serve --config config/sconce.toml (the first build takes some minutes)"
	@cargo run --release --locked -- serve --config config/sconce.toml

test: setup ## run all tests, without and with libtorch; one that hangs is named and ends it
	@echo "test: without libtorch"
	@cargo test --locked --no-default-features --no-run
	@scripts/limit-tests cargo test --locked --no-default-features
	@echo "test: with libtorch"
	@cargo test --locked --workspace --no-run
	@scripts/limit-tests cargo test --locked --workspace

check: setup ## check formatting and lints, warnings denied
	@echo "check: formatting"
	@cargo fmt --all --check
	@echo "check: clippy without libtorch"
	@cargo clippy --locked --no-default-features --all-targets -- -D warnings
	@echo "check: clippy with libtorch"
	@cargo clippy --locked --workspace --all-targets -- -D warnings

bench: setup ## measure the release program beside references (40 min; BENCH=--quick: minutes)
	@echo "bench: the release program, the library alone, an echo, Flask and FastAPI"
	@python3 bench/run.py $(BENCH)

attack: setup ## attack the release program over loopback (most of an hour; ATTACK="overload fuzz": those alone)
	@echo "attack: clients, model files and operators that mean no good, against the release program"
	@cargo build --release --locked
	@tests/attack/run $(ATTACK)

clients: setup ## try public clients of other servers against the release program
	@echo "clients: tritonclient"
	@tests/clients/run

evaluation: setup ## compare the figures of sconce evaluate with scikit-learn's
	@echo "evaluation: scikit-learn"
	@tests/evaluation/run

exporter: setup ## export modules with python/sconce_export and serve them with the release program (makes a Python environment with torch)
	@echo "exporter: fourteen architectures, references, folders"
	@cargo build --release --locked
	@scripts/try-exporter

packages: setup ## compile modules to packages of AOTInductor and serve them beside TorchScript (minutes; makes a Python environment with torch)
	@echo "packages: export, answers, batches, wrong inputs, cycles, speed"
	@cargo build --release --locked
	@scripts/try-packages

rollouts: setup ## change versions of the release program under load, every answer checked (makes a Python environment with torch)
	@echo "rollouts: swaps, failures, canary, shadow, kill -9, meanwhile, captured, replicas, proxies"
	@cargo build --release --locked
	@python=$$(scripts/python-env) && "$$python" tests/rollouts/run $(ROLLOUTS)

stores: setup ## try the release program with local servers of S3, GCS, Azure and WebDAV (npm for Azure's)
	@echo "stores: first load, update, outages, wrong credentials, starts without the store"
	@cargo build --release --locked
	@tests/stores/run $(STORES)

watching: setup ## try what watches models: labels, planted faults, real receivers of spans and events (needs prometheus; WATCHING=alarms: that alone)
	@echo "watching: feedback, alarms, series, sending"
	@cargo build --release --locked
	@tests/watching/run $(WATCHING)

# torch writes some parts in the order of a Python set: the hash seed is fixed, the bytes are the same.
inputs: setup ## compare tokens, pixels and columns with the reference libraries, send hostile files, over HTTP (makes a Python environment with torch)
	@echo "inputs: texts, images and tables against tokenizers, Pillow, scikit-learn and PyTorch"
	@cargo build --release --locked
	@python=$$(scripts/python-env) && "$$python" tests/inputs/run $(INPUTS)

models: ## fetch and build example models of sentences and photographs (minutes; makes a Python environment with torch, needs npm)
	@echo "models: minilm, sentiment and efficientnet_lite0, beside those that are there"
	@python=$$(scripts/python-env) && PYTHONHASHSEED=0 "$$python" models/scripts/build.py

train: ## train the committed example models again (makes a Python environment with torch, needs npm)
	@echo "train: breast_cancer and digits"
	@python=$$(scripts/python-env) && PYTHONHASHSEED=0 "$$python" models/scripts/train.py

fixtures: ## make the test models again and check each (makes a Python environment with torch)
	@echo "fixtures: make and check the test models, fetch silero_vad.jit"
	@python=$$(scripts/python-env) && PYTHONHASHSEED=0 "$$python" tests/fixtures/make.py
	@tests/fixtures/fetch_silero

image: ## build the container image and try it, with or without a registry (root, buildah, podman)
	@scripts/image
