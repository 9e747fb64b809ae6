"""Ways to run workers (`steward.terms.Runner`).

inline     in this thread: for tests and for looking at one image
processes  on this node: the default; `pipe_worker` runs in each
dask       on other nodes: they find us through `rendezvous`; `worker_pool` and `dask_worker` run there
"""
