"""Every decision that needs no more than values: pure functions and small states; no clock, no I/O, no randomness."""
