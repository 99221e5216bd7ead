# The front door. CMake does the building; this installs what is missing, and gives every job one short name.
BUILD ?= build
TYPE ?= Release
PREFIX ?= /usr/local
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60
MAKEFLAGS += --no-print-directory
CONFIGURE := -DCMAKE_BUILD_TYPE=$(TYPE) -DCMAKE_INSTALL_PREFIX=$(PREFIX)
export JOBS FUZZ_SECONDS

.PHONY: all build demo test test-arm64 bench bench-arm64 lint format sanitize fuzz install clean help
all: build

build: ## build build/whet, build/libwhet.a and build/libwhet.so (the default)
	@tools/setup.sh build
	@tools/build.sh $(BUILD) product $(CONFIGURE)

demo: build ## show a small network naming drawings it has never seen
	@$(BUILD)/examples/doodles examples/doodles/doodles.onnx examples/doodles/pictures/*.pgm

test: ## run all tests
	@tools/setup.sh build test
	@tools/build.sh $(BUILD) all $(CONFIGURE)
	@tools/test.sh $(BUILD)

bench: ## measure this machine, then every bench/*_bench.c beside its limits, then the demo's network
	@tools/setup.sh build
	@tools/build.sh $(BUILD) all $(CONFIGURE)
	@$(BUILD)/whet cpu
	@for b in bench/*_bench.c; do echo; echo "== $$b"; $(BUILD)/$$(basename $$b .c) || exit 1; done
	@echo; $(BUILD)/whet bench examples/doodles/doodles.onnx

test-arm64: ## cross-build for 64-bit Arm and run the tests under qemu, once for each kind of CPU (hours); ARM64=--quick: minutes
	@tools/test-arm64.sh $(ARM64)

bench-arm64: ## arm64's inner loops by llvm-mca's models of five cores: writes bench/arm64.md
	@tools/setup.sh build
	@tools/build.sh $(BUILD) product $(CONFIGURE)
	@tools/bench-arm64.sh $(BUILD) >bench/arm64.md && cat bench/arm64.md

lint: ## check formatting, warnings (gcc and clang), clang-tidy and the rules of the house
	@tools/setup.sh build test lint
	@tools/lint.sh

format: ## format every C file as .clang-format says
	@tools/setup.sh lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

sanitize: ## run all tests under ASan and UBSan, then those with threads in them under TSan
	@tools/setup.sh build test sanitize
	@tools/build.sh build-asan all -DCMAKE_BUILD_TYPE=Debug -DWHET_SANITIZE=address,undefined
	@tools/build.sh build-tsan all -DCMAKE_BUILD_TYPE=Debug -DWHET_SANITIZE=thread
	@status=0; tools/test.sh build-asan || status=1; \
		tools/test.sh build-tsan -E 'models_test|hostile_test|damage_test|onnx_' || status=1; exit $$status

fuzz: ## fuzz every target in fuzz/ for a minute each (FUZZ_SECONDS=N)
	@tools/setup.sh build fuzz
	@tools/build.sh build-fuzz all -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DWHET_FUZZ=ON -DWHET_TESTS=OFF
	@tools/fuzz.sh build-fuzz

install: build ## install to PREFIX (/usr/local), below DESTDIR if given
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove everything that was built
	rm -rf build build-asan build-tsan build-fuzz build-gcc build-clang build-arm64

help: ## list these
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile
