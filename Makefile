# tengil: make help lists the targets.

GO ?= go
FUZZTIME ?= 60s
export CGO_ENABLED ?= 0

.PHONY: real help setup build plugins cross demo images stack test exhaust check race bench bench-peers fuzz mutations docs proto man clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## check for Go and fetch the modules; on Debian also what the tests use if it is there
	@$(GO) version >/dev/null 2>&1 || { echo "tengil needs Go 1.26 or later: https://go.dev/doc/install" >&2; exit 1; }
	$(GO) mod download
	@.ci/packages

build: ## build ./tg
	$(GO) build -trimpath -o tg ./cmd/tg

plugins: ## build the plugins that ship, beside ./tg, where tg plugins install finds them
	$(GO) build -trimpath -o . ./plugins/registry-dir ./plugins/registry-http ./plugins/registry-gitea
	cp plugins/scaffold/registry-python.py registry-python

# Several packages at once are compiled and not linked, which is what takes long.
# What this machine most likely is comes last: .ci/run has compiled it by then.
cross: ## see that tg compiles for every system it is meant for
	@for os in windows darwin linux; do for arch in arm64 amd64; do \
	  echo "compile $$os/$$arch"; CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build ./cmd/... || exit 1; \
	done; done

demo: build ## deploy Immich on the lab node: no Proxmox, no root, no network needed
	./tg run --host lab --yes immich

images: ## build the images of testdata/stack, which real containers are tested with, of Debian's packages
	$(GO) run ./engine/lab/debimage/make-images

stack: ## put these images into a registry on 127.0.0.1:5000, which is started if there is none
	$(GO) run ./engine/lab/debimage/make-images -serve -push 127.0.0.1:5000

# Tests wait as much as they compute: twice as many packages as a small machine has cores.
test: ## all tests
	$(GO) test -p 4 -parallel 8 -timeout 30m ./...

exhaust: ## faults at every command of every case, on every release; takes a while
	EXHAUSTIVE=1 $(GO) test -parallel 8 -timeout 120m ./builtins ./recipes ./cmd/tg

real: ## what runs in containers for real, thoroughly: cut over OpenSSH, reached in many ways, seen in a browser
	@.ci/packages real
	REAL=1 $(GO) test -v -parallel 8 -timeout 60m -run 'TestReal|TestARealLab' ./cmd/tg

# A program with the detector sleeps a second before it exits, so that what still runs
# may be caught; scripts run tg hundreds of times.
race: ## all tests with the race detector (needs a C compiler), of many like cases a few
	GORACE="atexit_sleep_ms=10 $$GORACE" CGO_ENABLED=1 $(GO) test -race -short -p 4 -parallel 8 -timeout 30m ./...

check: ## what a change must pass: format, vet, staticcheck, race detector, tidy modules
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "not gofmt-clean:"; echo "$$out"; exit 1; } >&2
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(MAKE) race

bench: ## the claims about speed, each against a named alternative; see docs/performance.md
	@.ci/packages bench
	$(GO) test -run '^$$' -bench . -skip '^BenchmarkPeers$$' -benchtime 1x -timeout 10m ./cmd/tg

bench-peers: ## tg, a shell script, Ansible and Docker Compose deploy the same application; see docs/benchmarks.md
	@.ci/packages
	@.ci/packages bench
	$(GO) test -run '^$$' -bench '^BenchmarkPeers$$' -benchtime 1x -timeout 30m ./cmd/tg

fuzz: ## every fuzz target for FUZZTIME
	@$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z]+' "$$dir"/*_test.go 2>/dev/null | cut -d' ' -f2); do \
	    echo "$$dir $$f"; (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) .) || exit 1; \
	  done; done

mutations: ## break each promise on purpose, one by one: a test must notice each time
	MUTATIONS=1 $(GO) test -v -timeout 60m -run TestMutationsAreCaught ./recipes

docs: build ## write docs/reference.md anew
	./tg docs --markdown > docs/reference.md

proto: ## write what protoc makes of the protocol of plugins; apt install protobuf-compiler
	plugins/registryv1/generate.sh .

man: build ## write the manual pages of tg to ./man
	./tg man --dir man

clean: ## remove what was built
	rm -rf tg man registry-dir registry-http registry-gitea registry-python
