"""Ways to run workers (`run.Runner`).

inline     in this thread: for tests and for looking at one image
processes  on this node: the default; `pipe_worker` is what runs in each
dask       on other nodes: `meeting` is where they find us, `crew` and `dask_worker` are what runs there
"""
