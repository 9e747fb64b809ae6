"""Real schedulers for `make test-cluster`."""
