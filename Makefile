# The workshop's commands. Set-up is tools/setup.sh, the demo is demo/run.sh; this file only names them.
.PHONY: run test test-fast test-cluster test-sge test-but-sge lint docs picture lock clean
.PHONY: bench-ingest bench-fetch bench-publishers bench-race bench-cpu bench-makespan bench-scale bench-soak campaign-weeks campaign-damage campaign-mutants

BIN = .venv/bin
# Half of what a test does is to wait for a socket or a process.
SIDE_BY_SIDE = -n 2 --dist worksteal
# A run of the tests, the linter and the types needs requirements-dev.lock, a run of the program only requirements.lock.
RUN_READY = .venv/ready-run
DEV_READY = .venv/ready-dev

run: $(RUN_READY)
	@demo/run.sh

test: lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not cluster"

test-fast: $(DEV_READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not cluster"

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

# Installs and starts a Grid Engine and a Slurm on this machine, so it needs root, and Debian or Ubuntu.
# Side by side, since jobs mostly wait.
test-cluster: $(DEV_READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-sge test-but-sge

test-sge:
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m cluster -k sge

test-but-sge:
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m cluster -k "not sge"

bench-ingest: $(DEV_READY)
	$(BIN)/python -m bench.ingest

bench-fetch: $(DEV_READY)
	$(BIN)/python -m bench.fetch

bench-race: $(DEV_READY)
	$(BIN)/python -m bench.race

bench-cpu: $(DEV_READY)
	$(BIN)/python -m bench.cpu

bench-scale: $(DEV_READY)
	$(BIN)/python -m bench.scale --shapes

bench-soak: $(DEV_READY)
	$(BIN)/python -m bench.soak

bench-makespan: $(DEV_READY)
	$(BIN)/python -m bench.makespan

bench-publishers: $(DEV_READY)
	$(BIN)/python -m bench.publishers

# A rehearsal of two weeks of jobs against hosts that keep their own books. "make campaign-weeks" prints its seed.
campaign-weeks: $(DEV_READY)
	$(BIN)/python -m tests.weeks

# Whole pictures of all formats, damaged in every way. "make campaign-damage" prints its seed.
campaign-damage: $(DEV_READY)
	$(BIN)/python -m tests.damage

# Small faults in the program, and how many of them the tests notice. "make campaign-mutants" prints its seed.
campaign-mutants: $(DEV_READY)
	$(BIN)/python -m tests.mutants

# The pages that are made from the code: docs/reference/cli.md and publishers.md.
docs: $(DEV_READY)
	$(BIN)/python -m tools.generate_docs

# docs/status.svg, from the ledger of the last "make run".
picture: $(DEV_READY)
	$(BIN)/python -m tools.picture

# New versions for both lock files. Needs uv; the locks hold for Python 3.11 to 3.13 on x86-64 and arm64.
lock:
	tools/lock.sh

clean:
	rm -rf .venv demo-run bench/out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(RUN_READY): requirements.lock pyproject.toml tools/setup.sh
	@tools/setup.sh requirements.lock
	@touch $@

$(DEV_READY): requirements-dev.lock pyproject.toml tools/setup.sh
	@tools/setup.sh requirements-dev.lock
	@touch $@ $(RUN_READY)
