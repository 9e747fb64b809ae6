"""Ways to run workers (`run.Runner`).

inline     in this thread: for tests and for looking at one image
processes  on this node: the default
"""
