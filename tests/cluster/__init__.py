"""Real schedulers for `make test-system`."""
