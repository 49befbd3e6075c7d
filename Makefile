# The whole developer interface. `make help` lists the targets.
PYTHON ?= python3
TORCH ?= torch==2.13.0
ARGS ?=
SEED ?= 1
MINUTES ?= 30
RUNS ?= 1000000
SAMPLE ?= 120
REV ?= HEAD~1
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check
SOURCES := pyproject.toml CMakeLists.txt $(shell find csrc -type f)
CXX_FILES := $(shell find csrc -name '*.h' -o -name '*.cc')

.PHONY: help demo check tidy coverage test test-browser test-homeassistant screenshots chaos soak fuzz mutants sanitize sanitize-address sanitize-thread bench-check wheels test-wheels docs \
  lint format types build clean

help:
	@echo "make demo [ARGS='--kill-part 1 --after 20']   see a fleet of four nodes work"
	@echo "make test [ARGS='-k mqtt']                    build and run every test"
	@echo "make check                                    lint, types and the quick tests, in two minutes"
	@echo "make test-homeassistant                       a fleet in a real Home Assistant, which it installs"
	@echo "make test-browser                             the live page's tests, in Debian's Chromium"
	@echo "make screenshots                              the live page's pictures in docs/"
	@echo "make chaos [SEED=n]                           the long form of the tests that kill and flood"
	@echo "make soak [MINUTES=30]                        half of what the fleet can do, and what grows; docs/soak.png"
	@echo "make fuzz [RUNS=1000000]                      every reader of what others wrote, guided by coverage"
	@echo "make mutants [SAMPLE=120 SEED=1]              plant errors in four rooms, count those that tests notice"
	@echo "make sanitize                                 the kernel tests under ASan, UBSan and TSan"
	@echo "make bench-check [REV=HEAD~1]                 fails if the engine got 5 % slower since another commit"
	@echo "make wheels [ARGS='--python 3.13']            wheels for CPython 3.11 to 3.14, x86-64 and 64-bit Arm, sdist, SBOM, in dist/"
	@echo "make test-wheels                              those in dist/, installed on clean Debian 12 and 13, x86-64 and Arm"
	@echo "make docs                                     these documents as a site, in build/site"
	@echo "make tidy                                     clang-tidy on the C++ code"
	@echo "make coverage [ARGS='tests/protocol']         which lines the tests reach; build/coverage/index.html"
	@echo "make lint | format | types | build            what CI runs before the tests"
	@echo "make clean                                    remove what the build made"

check: lint types
	$(BIN)/python -m pytest -q -m 'not slow' $(ARGS)

demo: build/.demo
	$(BIN)/devit demo $(ARGS)

test: build/.dev
	@scripts/need --optional mosquitto:mosquitto openssl:openssl qemu-aarch64-static:qemu-user-static \
	  aarch64-linux-gnu-g++:g++-aarch64-linux-gnu mmdebstrap:mmdebstrap arch-test:arch-test \
	  promtool:prometheus ip:iproute2 chromium:chromium \
	  buildah:buildah
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

test-browser: build/.dev
	@scripts/need mosquitto:mosquitto chromium:chromium
	$(BIN)/python -m pytest tests/browser $(ARGS)

test-homeassistant: build/.dev
	@scripts/need mosquitto:mosquitto mmdebstrap:mmdebstrap g++:g++
	DEVIT_HOMEASSISTANT=1 $(BIN)/python -m pytest tests/homeassistant $(ARGS)

screenshots: build/.dev
	@scripts/need mosquitto:mosquitto chromium:chromium
	$(BIN)/python scripts/screenshots.py
	$(BIN)/python scripts/teach_screenshot.py

chaos: build/.dev
	@scripts/need mosquitto:mosquitto ip:iproute2
	DEVIT_CHAOS_SEED=$(SEED) $(BIN)/python -m pytest tests/chaos $(ARGS)

soak: build/.dev
	@scripts/need mosquitto:mosquitto
	DEVIT_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/chaos/test_soak.py $(ARGS)

fuzz: build/.dev
	$(PIP) install -q -e '.[fuzz]'
	$(BIN)/python scripts/fuzz.py $(RUNS)

mutants: build/.dev
	$(PIP) install -q -e '.[mutants]'
	$(BIN)/python scripts/mutants.py $(SAMPLE) $(SEED)

sanitize: sanitize-address sanitize-thread

sanitize-address sanitize-thread: build/.dev
	@scripts/need g++:g++
	$(BIN)/python scripts/sanitize.py $(@:sanitize-%=%)

bench-check: build/.dev
	@scripts/need git:git c++:g++
	$(BIN)/python scripts/bench_check.py --rev '$(REV)'

wheels: build/.dev
	@scripts/need g++:g++ aarch64-linux-gnu-g++:g++-aarch64-linux-gnu mmdebstrap:mmdebstrap
	$(PIP) install -q -e '.[wheels]'
	$(BIN)/python scripts/wheels.py $(ARGS)

test-wheels: build/.dev
	@scripts/need mmdebstrap:mmdebstrap qemu-aarch64-static:qemu-user-static arch-test:arch-test
	DEVIT_WHEELS=1 $(BIN)/python -m pytest tests/shipping/test_clean_systems.py $(ARGS)

docs: build/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

tidy: build/.dev
	$(PIP) install -q -e '.[lint]'
	$(BIN)/cmake -S . -B build/tidy -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DSKBUILD_PROJECT_NAME=devit_iot \
	  -DPython_EXECUTABLE=$(abspath $(BIN))/python \
	  -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) >/dev/null
	$(BIN)/run-clang-tidy.py -clang-tidy-binary $(BIN)/clang-tidy -p build/tidy -quiet '/csrc/'

coverage: build/.dev
	$(PIP) install -q -e '.[lint]'
	$(BIN)/python -m pytest --cov=devit_iot --cov-report=html:build/coverage --cov-report=term $(ARGS)

lint: build/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

format: build/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CXX_FILES)
	$(BIN)/python scripts/kernel_tables.py
	$(BIN)/python scripts/configuration_tables.py
	$(BIN)/python scripts/metric_table.py
	$(BIN)/python scripts/layers_drawing.py

types: build/.dev
	$(BIN)/mypy

build: build/.dev

clean:
	rm -rf build mutants .venv

.venv/bin/python:
	@scripts/need $(PYTHON):python3
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "devit-iot needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || scripts/need python3-venv:python3-venv
	$(PYTHON) -m venv .venv

build/.demo: .venv/bin/python $(SOURCES)
	@scripts/need c++:g++
	$(PIP) install -q -e '.[demo]'
	@mkdir -p build && touch $@

build/.dev: .venv/bin/python $(SOURCES)
	@scripts/need c++:g++
	$(PIP) install -q '$(TORCH)'
	$(PIP) install -q -C cmake.define.DEVIT_WERROR=ON -e '.[bench,demo,train,camera,fleet,hub,tflite,docs,metrics,wheels,dev]'
	@mkdir -p build && touch $@
