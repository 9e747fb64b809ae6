"""Rows of GBIF downloads for tests and the demo; SOURCES.md says where each comes from."""
