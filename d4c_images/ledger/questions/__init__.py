"""Read-only queries of the ledger, for reports, checks and runs."""
