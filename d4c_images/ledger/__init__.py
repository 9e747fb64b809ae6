"""The only SQL in the program: tables, lending and settling, roll-up, and read-only questions. Fetches nothing."""
