"""One module per command: its arguments (`add`), and the parts that it builds and runs (`run`).

Parts that only some commands need are imported inside `run`: what talks to servers takes 17 MB, which `init` has better use for.
"""
