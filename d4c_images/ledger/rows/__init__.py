"""What admission and queue share: counts, the roll-up of records, names, hashes, variants. Starts no transaction of its own."""
