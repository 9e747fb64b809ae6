"""Every decision that needs only values: pure functions and small states; no clock, no I/O, no randomness."""
