# SPDX-License-Identifier: Apache-2.0
# One command for each thing a developer does. The work is in scripts/; this file only names it.
# On a bare Debian 12, as root: `make demo` and `make test` install what they need by themselves.

PREFIX ?= /usr/local
DESTDIR ?=
KERNEL ?=
BENCH ?=
NAME ?=

.DEFAULT_GOAL := build
.PHONY: build deps test-deps test check demo vm matrix fuzz bench bench-document bench-servers bench-check fault soak model lint format asan tsan tools \
        rust-sample install packages clean help

build: ## Build everything into build/ (programs in build/bin, libraries in build/lib)
	@scripts/deps.sh build
	@scripts/build.sh

tools: ## Build the programs written in C and C++ only (no Rust toolchain needed)
	@scripts/deps.sh native
	@scripts/build.sh --native

rust-sample: build ## Build the Rust sample against the library installed in PREFIX: samples/rust/target/release/rust_sample
	@scripts/rust_sample.sh "$(PREFIX)"

deps: ## Install the Debian packages that building needs, as far as they are missing
	@scripts/deps.sh build

test-deps: ## Install the Debian packages that the tests need, as far as they are missing
	@scripts/deps.sh build test vm

demo: build ## Trace real HTTP and DNS traffic with a C++ and a Rust agent, and compare them
	@python3 -u scripts/demo.py

test: ## Install what is missing, build, run every test
	@scripts/test.sh

check: ## Build, then the unit tests only
	@scripts/test.sh --unit

vm: ## Trace smoke traffic inside a virtual machine; KERNEL=FILE takes any x86-64 kernel image
	@scripts/vm.sh $(if $(KERNEL),"$(KERNEL)")

matrix: ## What the inference makes of captures: a folder per protocol, PCAPS=DIR
	@scripts/deps.sh build test
	@scripts/build.sh --tests
	@python3 scripts/matrix.py "$(or $(PCAPS),../shared/pcaps)" || [ $$? -eq 77 ]

fuzz: ## Fuzz what reads other people's bytes: SECONDS=100 for each fuzzer, NAME="infer control"
	@scripts/deps.sh build test
	@scripts/build.sh --tests
	@tests/fuzz/run.sh "$(CURDIR)/build" $(or $(SECONDS),100) $(NAME)

bench: ## Measure everything, in build/bench: JSON, tables, plots; NAME="ring trace", BENCH="--rounds 9"
	@scripts/bench.sh $(NAME) -- $(BENCH)

bench-document: ## Renew the tables and pictures of docs/BENCHMARKS.md from build/bench
	@scripts/bench.sh --document

bench-servers: ## Measure servers under load, traced by us and others; BENCH="--only nginx --rounds 9"
	@scripts/bench.sh server -- $(BENCH)

bench-check: ## Instructions per record and call against those known; UPDATE=1 takes them as known
	@scripts/deps.sh build test
	@scripts/build.sh --tests
	@python3 tests/bench/instruction_guard.py $(if $(UPDATE),--update) build
	@python3 tests/bench/bpf_time_guard.py $(if $(UPDATE),--update) build

fault: ## Fault tests across processes, N rounds of each (default 10000)
	@scripts/deps.sh build test
	@scripts/build.sh --tests
	@tests/fault/run.sh build rounds $(or $(N),10000)

soak: ## Everything that can go wrong in random order, every account checked; MINUTES=10
	@scripts/deps.sh build test
	@scripts/build.sh --tests
	@tests/fault/run.sh build soak $(or $(MINUTES),10)

model: ## Explore the ring's protocol under the model checker, in depth (about half an hour)
	@scripts/deps.sh build test
	@scripts/build.sh --tests
	@cmake --build build --target model

lint: ## Check formatting and lint: C, C++, Rust, shell (LINT=all: also files that did not change)
	@scripts/lint.sh

format: ## Format the C, C++ and Rust sources in place
	@scripts/lint.sh --format

asan: ## Unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/sanitize.sh asan

tsan: ## Unit tests under ThreadSanitizer
	@scripts/sanitize.sh tsan

install: build ## Install into DESTDIR and PREFIX (default /usr/local)
	@cmake -S . -B build -DCMAKE_INSTALL_PREFIX="$(PREFIX)" >build/configure.log || { cat build/configure.log; exit 1; }
	@DESTDIR="$(DESTDIR)" cmake --install build
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig

packages: build ## Make Debian packages in build/packages
	@scripts/packages.sh build
	@ls build/packages/*.deb

clean: ## Remove every build directory
	rm -rf build build-asan build-tsan build-vm rust/target samples/rust/target

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
