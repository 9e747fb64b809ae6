"""Shared by admission and queue: counts, the roll-up of records, names, hashes, variants. Starts no transaction of its own."""
