"""How rows of sources become images, records and links, once each. Fetches and settles nothing."""
