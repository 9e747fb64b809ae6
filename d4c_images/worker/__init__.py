"""The stage that works turns: requests, verifies, stores, reports. Never sees the ledger."""
