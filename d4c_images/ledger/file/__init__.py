"""The ledger as a file: schema, views, versions, connections, who owns it, copies of it. Asks no questions of its rows."""
