"""The stage that works turns: asks, verifies, keeps, reports. Never sees the ledger."""
