# Sallyport: `make run` starts a gateway, `make test` checks it, `make help` lists the rest.

SHELL := /bin/bash
GO    ?= go

# The SQL engine is C++ and needs a C++ compiler, as does the race detector.
CXX_OK  := $(shell command -v g++ >/dev/null 2>&1 && echo yes)
# The guests of code execution are compiled by a compiler that pip fetches, from
# sources packed by xz.
PIP_OK  := $(shell (pip3 --version || pip --version || python3 -m pip --version) >/dev/null 2>&1 && command -v xz >/dev/null 2>&1 && echo yes)
PLUGINS := $(notdir $(patsubst %/,%,$(wildcard plugins/*/)))
PUREGO  := $(filter-out engine-duckdb,$(PLUGINS))
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Packages that are tested at once: many of the tests wait for processes.
PACKAGES := $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN))
# Those that wait longest are started first.
LONGEST := ./core/gateway ./core/cmd/sallyport ./plugins/engine-duckdb ./core/router ./core/gatewaytest ./core/pluginhost ./sdk/conformance ./sdk/plugintest ./core/delta ./sandbox ./sandbox/internal/session
# What tests are told of what was built.
BUILT := SALLYPORT_BUILT=1 SALLYPORT_GUESTS=$(CURDIR)/bin/guests
# A test's wazero calls itself "dev", and would not find what make has compiled.
WAZERO = -ldflags '-X github.com/tetratelabs/wazero/internal/version.version=$(shell $(GO) list -m -f '{{.Version}}' github.com/tetratelabs/wazero)'
# A program built with the race detector waits a second at its end, unless told otherwise.
RACE := GORACE=atexit_sleep_ms=50
# Only Linux can confine the bundled plugins while they are asked what they are.
UNCONFINED := $(if $(filter Linux,$(shell uname -s)),,--unconfined)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

.PHONY: compiler
compiler:
ifneq ($(CXX_OK),yes)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing the C++ compiler from Debian: apt-get install g++"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq g++ >/dev/null; \
	else \
	  echo "No C++ compiler: the SQL engine is left out, so tables cannot be queried."; \
	  echo "Install it with:  sudo apt-get install -y g++   and run make again."; \
	fi
endif

.PHONY: fetcher
fetcher:
ifneq ($(PIP_OK),yes)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing what the guests of code execution need from Debian: apt-get install python3-pip xz-utils"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip xz-utils >/dev/null; \
	else \
	  echo "No pip or no xz: models can run no programs in Python and SQL."; \
	  echo "Install them with:  sudo apt-get install -y python3-pip xz-utils   and run make again."; \
	fi
endif

.PHONY: build
build: compiler fetcher ## build bin/sallyport, bin/plugins/* and bin/guests/*
	@mkdir -p bin/plugins
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o bin/sallyport ./core/cmd/sallyport
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/sallyport-confine ./core/cmd/sallyport-confine
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/plugins/ $(addprefix ./plugins/,$(PUREGO))
	@if command -v g++ >/dev/null 2>&1; then \
	  echo "CGO_ENABLED=1 $(GO) build -o bin/plugins/ ./plugins/engine-duckdb"; \
	  CGO_ENABLED=1 $(GO) build -ldflags '-s -w' -o bin/plugins/ ./plugins/engine-duckdb; \
	else \
	  rm -f bin/plugins/engine-duckdb; \
	  echo "built without the SQL engine (no C++ compiler; see above)"; \
	fi
	@bin/sallyport plugin add --quiet --yes $(UNCONFINED) --to bin/plugins $$(cd bin/plugins && ls -d $(PLUGINS) 2>/dev/null | sed 's|^|bin/plugins/|') # their hashes, into plugins.lock, and nobody else's
	@$(GO) run ./sandbox/guests/make -out bin/guests -compile || echo "some interpreters for code execution are missing (see above); all else works"

.PHONY: run
run: build ## build, start with the built-in defaults, print URL, token and a first request (LISTEN=host:port for another port)
	@exec ./bin/sallyport serve --welcome $(if $(LISTEN),--listen $(LISTEN))

.PHONY: test
test: build ## all fast tests, with the race detector
	@command -v g++ >/dev/null 2>&1 || { echo "make test needs a C++ compiler: sudo apt-get install -y g++"; exit 1; }
	$(RACE) $(BUILT) $(GO) test -race $(WAZERO) -timeout 25m -p $(PACKAGES) $(LONGEST) ./...

.PHONY: check
check: ## formatting, vet, static analysis, other platforms
	@test -z "$$(gofmt -l core plugins sandbox sdk examples)" || { echo "not gofmt'ed:"; gofmt -l core plugins sandbox sdk examples; exit 1; }
	$(GO) vet ./...
	GOOS=wasip1 GOARCH=wasm $(GO) vet ./sandbox/guests/shell/...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./core/cmd/sallyport ./core/cmd/sallyport-confine
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./core/cmd/sallyport ./core/cmd/sallyport-confine
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./core/cmd/sallyport # the commands for clients

.PHONY: e2e
e2e: build ## the real client programs and third-party plugins against a running gateway (downloads them)
	$(BUILT) $(GO) test -tags e2e -count=1 $(WAZERO) -timeout 30m ./examples/clients ./examples/plugins ./core/gatewaytest ./core/delta ./core/backup ./core/supervisor/lint
	$(BUILT) $(GO) test -tags e2e -count=1 $(WAZERO) -timeout 30m -run RandomKills ./core/gateway

.PHONY: bench
bench: build ## speed: CPU per operation and ratios against a direct call; memory over 10 minutes of load (SALLYPORT_SOAK=1m for less)
	$(BUILT) SALLYPORT_SOAK=$(or $(SALLYPORT_SOAK),10m) $(GO) test $(WAZERO) -run '^$$' -bench . -benchmem -timeout 90m ./...

.PHONY: clean
clean: ## remove what was built; data stays
	rm -rf bin .cache
