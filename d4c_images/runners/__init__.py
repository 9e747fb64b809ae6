"""Ways to run workers (`steward.terms.Runner`).

inline     in this thread: for tests and for looking at one image
processes  on this node: the default; `pipe_worker` is what runs in each
dask       on other nodes: `rendezvous` is where they find us, `worker_pool` and `dask_worker` are what runs there
"""
