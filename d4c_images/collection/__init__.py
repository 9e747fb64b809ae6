"""The images that are kept: read, unpacked, checked against the ledger, placeholders put aside. Fetches nothing."""
