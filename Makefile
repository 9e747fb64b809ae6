# The workshop's commands. Set-up is tools/setup.sh, the demo is demo/run.sh; this file only names them.
# "make help" shows each line that begins with "##" beside the target below it, under the last "##@" as a heading.
.DEFAULT_GOAL = help
.PHONY: help run test test-fast test-system test-sge test-but-sge lint docs picture new-publisher lock clean
.PHONY: bench-ingest bench-fetch bench-publishers bench-race bench-cpu bench-makespan bench-scale bench-check bench-soak
.PHONY: campaign-weeks campaign-damage campaign-mutants campaign-disk-faults campaign-repair campaign-healthy

BIN = .venv/bin
# Half of what a test does is to wait for a socket or a process.
SIDE_BY_SIDE = -n 2 --dist worksteal
# A run of the tests, the linter and the types needs requirements-dev.lock, a run of the program only requirements.lock.
RUN_READY = .venv/ready-run
DEV_READY = .venv/ready-dev

##@ Use it
## this list
help:
	@awk '/^##@ / { print (groups++ ? "\n" : "") substr($$0, 5) } \
	      /^## / { text = substr($$0, 4) } \
	      /^[a-z-]+:/ && text { printf "  %-18s %s\n", substr($$1, 1, index($$1, ":") - 1), text; text = "" }' $(firstword $(MAKEFILE_LIST))

## the whole job on 465 real rows from this machine; ARCHIVE=FILE [LABELS=yes]: on your own download
run: $(RUN_READY)
	@demo/run.sh

##@ Work on it
## what must hold before a push: the linter, the types, all tests that need no root
test: lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not system"

## the quick tests only, for while you work
test-fast: $(DEV_READY)
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow and not system" --hypothesis-profile fast

## ruff, for rules and format, and mypy
lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Installs and starts a Grid Engine and a Slurm on this machine, so it needs root, and Debian or Ubuntu.
# Side by side, since jobs mostly wait.
## what needs root and Debian's packages: a real Grid Engine and Slurm, network namespaces
test-system: $(DEV_READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-sge test-but-sge

test-sge:
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m system -k sge

test-but-sge:
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m system -k "not sge"

##@ Measure it (docs/explanation/performance.md has the figures)
## init beside "sqlite3 .import"
bench-ingest: $(DEV_READY)
	$(BIN)/python -m bench.ingest

## images a second, beside curl, aria2, img2dataset and Scrapy, which it installs
bench-race: $(DEV_READY)
	$(BIN)/python -m bench.race

## the same over HTTPS, and over HTTP
bench-fetch: $(DEV_READY)
	$(BIN)/python -m bench.fetch

## CPU of an image, beside a bare libcurl loop with one decode
bench-cpu: $(DEV_READY)
	$(BIN)/python -m bench.cpu

## what a ledger of 50 M rows costs, and skewed tables
bench-scale: $(DEV_READY)
	$(BIN)/python -m bench.scale --shapes

## how fast a check is, beside sha256sum, and its ledger part beside one SELECT
bench-check: $(DEV_READY)
	$(BIN)/python -m bench.check --rows 1000000 50000000

## whether a long run grows
bench-soak: $(DEV_READY)
	$(BIN)/python -m bench.soak

## how near a run comes to the end that politeness allows
bench-makespan: $(DEV_READY)
	$(BIN)/python -m bench.makespan

## what the rules make of real rows
bench-publishers: $(DEV_READY)
	$(BIN)/python -m bench.publishers

##@ Prove it, for hours; each prints its seed
# Against hosts that keep their own books.
## two weeks of jobs with all their troubles (tests/weeks/README.md)
campaign-weeks: $(DEV_READY)
	$(BIN)/python -m tests.weeks

## whole pictures of every format, damaged in every way (tests/damage/README.md)
campaign-damage: $(DEV_READY)
	$(BIN)/python -m tests.damage

## 300 kills of the commands that back up, restore, repair, convert and copy (tests/repair/README.md)
campaign-repair: $(DEV_READY)
	$(BIN)/python -m tests.repair

## checks of 200,000 healthy images beside a download: nothing may be found (tests/healthy/README.md)
campaign-healthy: $(DEV_READY)
	$(BIN)/python -m tests.healthy

## small faults in the program, and how many of them the tests notice (tests/mutants/README.md)
campaign-mutants: $(DEV_READY)
	$(BIN)/python -m tests.mutants

# Every call, which takes days, unless ARGS='--sample 20 --seed 7' or so.
## disk errors at the system calls of every command that writes (tests/disk/README.md)
campaign-disk-faults: $(DEV_READY)
	$(BIN)/python -m tests.disk $(ARGS)

##@ Change it
## write the pages and job scripts that are made from the code
docs: $(DEV_READY)
	$(BIN)/python -m tools.generate_docs

## begin a rule: make new-publisher NAME=example (docs/how-to/add-a-publisher.md)
new-publisher: $(DEV_READY)
	@$(BIN)/python -m tools.new_publisher "$(NAME)"

## draw docs/status.svg, from the ledger of the last "make run"
picture: $(DEV_READY)
	$(BIN)/python -m tools.picture

# The locks hold for Python 3.11 to 3.13 on x86-64 and arm64.
## put new versions into both lock files; needs uv
lock:
	tools/lock.sh

## delete .venv, demo-run and whatever else make has made
clean:
	rm -rf .venv demo-run bench/out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(RUN_READY): requirements.lock pyproject.toml tools/setup.sh
	@tools/setup.sh requirements.lock
	@touch $@

$(DEV_READY): requirements-dev.lock pyproject.toml tools/setup.sh
	@tools/setup.sh requirements-dev.lock
	@touch $@ $(RUN_READY)
