"""Output for other programs: tables as files. Reads the ledger, changes nothing."""
