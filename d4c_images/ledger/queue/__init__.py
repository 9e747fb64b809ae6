"""Images on their way: lent, settled, asked for again, given up, and what hosts bear. Admits no rows of sources."""
