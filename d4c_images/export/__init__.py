"""What leaves the program for others to work with: tables as files. Reads the ledger, changes nothing."""
