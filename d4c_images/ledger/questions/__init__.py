"""Questions that are read from the ledger, for reports, checks and runs."""
