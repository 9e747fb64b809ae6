"""Batch schedulers (Grid Engine, Slurm): limits of the job, requeueing, job scripts as text. Knows nothing of images."""
