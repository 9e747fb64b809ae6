"""The stage that streams a source into the ledger: reads, identifies, joins, passes chunks on. Fetches no image."""
