"""How some hosts of the demo rows behave in `make run`, so that its report shows what reports are for. A table, no code."""

RULES = """
"""
