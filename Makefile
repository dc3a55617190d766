# Everything a developer runs. `make help` lists it.

# One feature set for clippy and tests alike, so that nothing is built twice.
FEATURES := --features failpoints
CARGO ?= cargo
export SEED RUNS ROWS

.PHONY: postgres help run test test-clients check crash fuzz spill oracle bless bench demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build and serve on 127.0.0.1:4566, data in ./weir-data
	$(CARGO) run --release -- serve

test: check ## every check and every test
	$(CARGO) test $(FEATURES)

test-clients: ## drivers and tools, installed under target/, against a real server: make test-clients SUITES='psycopg node'
	$(CARGO) build $(FEATURES)
	python3 sql-tests/clients/run.py $(SUITES)

check: ## formatting, clippy with warnings denied, the rules of the layers
	$(CARGO) fmt --check
	$(CARGO) clippy $(FEATURES) --all-targets -- -D warnings
	$(CARGO) test $(FEATURES) --test sql layers

postgres: ## compare with PostgreSQL 15 or later, an installed one or make postgres SERVER='host=localhost user=me' [RUNS=100 SEED=7 BLESS=1]
	WEIR_POSTGRES="$${SERVER:-installed}" WEIR_RUNS=$${RUNS:-} WEIR_SEED=$${SEED:-} WEIR_BLESS=$${BLESS:-} \
		$(CARGO) test $(FEATURES) --test sql -- postgres

crash: ## kill a server again and again: make crash RUNS=500 SEED=7
	WEIR_RUNS=$${RUNS:-25} WEIR_SEED=$${SEED:-} $(CARGO) test $(FEATURES) --test sql crash -- --nocapture

fuzz: ## bytes, messages and SQL at random against the server: make fuzz RUNS=20000 SEED=7
	WEIR_RUNS=$${RUNS:-2000} WEIR_SEED=$${SEED:-} $(CARGO) test $(FEATURES) --test sql fuzz -- --nocapture

spill: ## state beyond the memory limit: make spill ROWS=150000 SEED=7
	WEIR_ROWS=$${ROWS:-15000} WEIR_SEED=$${SEED:-} $(CARGO) test $(FEATURES) --test sql spill -- --nocapture

oracle: ## compare views with their queries, random ones: make oracle RUNS=100 SEED=7
	WEIR_RUNS=$${RUNS:-2} WEIR_SEED=$${SEED:-} $(CARGO) test $(FEATURES) --test sql oracle -- --nocapture

bless: ## write what is answered now into the golden plans and the .slt files
	WEIR_BLESS=1 $(CARGO) test $(FEATURES) golden
	WEIR_BLESS=1 $(CARGO) test $(FEATURES) --test sql slt::sled

bench: ## measure against DataFusion and print the table
	$(CARGO) bench

demo: ## the main job in one go: feed, kill, restart, look
	CARGO_PROFILE=$${CARGO_PROFILE:-debug} examples/demo.sh
