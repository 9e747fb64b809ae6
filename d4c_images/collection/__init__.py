"""The stored images: reading, unpacking, checking against the ledger, quarantining placeholders. Fetches nothing."""
