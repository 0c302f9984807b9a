"""A dashboard of queues: pages on the web that show the values of `torrelque.operate`, and nothing else."""
