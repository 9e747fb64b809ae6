"""One module per command: its arguments (`add`), and the parts that it builds and runs (`run`).

Parts that only some commands need are imported inside `run`: the HTTP parts alone take 17 MB, which `init` can use better.
"""
