"""How many small faults the tests notice: `make campaign-mutants`. See `README.md`."""
