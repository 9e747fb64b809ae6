"""The stage that streams a source into the ledger: reads, identifies, joins, hands chunks over. Fetches no image."""
