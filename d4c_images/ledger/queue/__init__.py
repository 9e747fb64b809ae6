"""Images on their way: lent, settled, refetched, given up; and the state of hosts. Admits no source rows."""
