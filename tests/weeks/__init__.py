"""A rehearsal of weeks: `make campaign-weeks`. See `README.md`."""
