# The front door. `make demo` and `make test` do everything on a bare Debian 12 or Ubuntu 24.04.
BUILD ?= build
VENV  ?= .venv
JOBS  ?= $(shell nproc)
export TORCH PIP_ARGS

PYTHON := $(VENV)/bin/python
CMAKE_FLAGS = -G Ninja -DUS_VENV=$(abspath $(VENV))

.PHONY: help setup build demo test test-fast oracle sanitize tsan lint format bench docs clean
help:
	@echo "make demo     synthetic logs -> samples -> trained model -> evaluation -> running server"
	@echo "make test     set up, build, all tests, sanitizers, guards"
	@echo "make bench    all benches; make bench-<name> for one of: $(notdir $(wildcard bench/*/))"
	@echo "make clients  virtual environments of the stock clients that test the server (else those tests are skipped)"
	@echo "make tsan     the server's tests under the thread sanitizer"
	@echo "make lint | format | docs | build | clean"

setup:
	@tools/setup.sh $(VENV)

$(BUILD)/build.ninja: CMakeLists.txt cmake/*.cmake | setup
	cmake -S . -B $(BUILD) $(CMAKE_FLAGS)

build: setup $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS)

# The binaries alone: no tests, no benches.
demo: setup $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS) --target uniscale uniscale-server uniscale-gateway
	VENV=$(VENV) tools/demo.sh $(BUILD)

test: build
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory sanitize
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

test-fast: build
	ctest --test-dir $(BUILD) --output-on-failure -L fast

# The sample builder against its twin in SQL, on 200 random worlds; DuckDB lives in an environment of its own.
oracle: build
	@[ -x .venv-oracle/bin/pip ] || python3 -m venv .venv-oracle
	.venv-oracle/bin/pip install -q $(PIP_ARGS) -r requirements/oracle.txt
	.venv-oracle/bin/python tests/oracle/small_worlds.py $(BUILD)

# ASan and UBSan over every room that does not link torch.
sanitize: setup
	cmake -S . -B $(BUILD)-asan $(CMAKE_FLAGS) -DUS_SANITIZE=ON
	cmake --build $(BUILD)-asan -j $(JOBS)
	ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 ctest --test-dir $(BUILD)-asan --output-on-failure -L fast

# TSan over what threads share while serving: the server's and the gateway's tests, and the fuzzed service.
tsan: setup
	cmake -S . -B $(BUILD)-tsan $(CMAKE_FLAGS) -DUS_SANITIZE=thread
	cmake --build $(BUILD)-tsan -j $(JOBS) --target base_test bundle_test runtime_test serve_test gateway_test fuzz_service
	TSAN_OPTIONS="halt_on_error=1 suppressions=$(CURDIR)/tools/tsan.supp" ctest --test-dir $(BUILD)-tsan --output-on-failure \
	  -R '^(base|bundle|runtime|serve|gateway|fuzz_service)$$'

# The stock clients of tests/e2e/test_clients.py, a venv each.
clients:
	for name in triton kserve; do \
	  [ -x .venv-$$name/bin/python ] || python3 -m venv .venv-$$name || exit 1; \
	  .venv-$$name/bin/pip install -q $(PIP_ARGS) -r requirements/clients-$$name.txt || exit 1; \
	done

lint: build
	tools/lint.sh $(BUILD) $(VENV)

format: setup
	git ls-files '*.cc' '*.h' | xargs $(VENV)/bin/clang-format -i

docs: build
	$(BUILD)/uniscale config --reference > docs/configuration.md

BENCHES := $(addprefix bench-,$(notdir $(patsubst %/,%,$(wildcard bench/*/))))
bench: $(BENCHES)
$(filter-out bench-es3 bench-serve bench-train,$(BENCHES)): bench-%: build
	$(BUILD)/bench_$*
# The runtime beside its rivals, and the server over HTTP.
bench-serve: build
	python3 bench/serve/run.py $(BUILD)
# Against rivals, each in a folder below bench/es3.
bench-es3: build
	python3 bench/es3/run.py $(BUILD)
# The trainer's step against PyTorch, rivals below bench/train/rivals.
bench-train: build
	python3 bench/train/run.py $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan
