"""The hash by which an image key is found. Imports nothing big: each download starts with it."""

from __future__ import annotations

import xxhash

HASH_MASK = (1 << 63) - 1  # 63 bits: SQLite's integers are signed


def key_hash(key: str) -> int:
    """The hash of one key; `chunk.hashes_of` computes many."""
    return xxhash.xxh3_64_intdigest(key.encode()) & HASH_MASK
