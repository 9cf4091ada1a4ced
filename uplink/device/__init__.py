"""The device's side: an agent with a transport key, a read-only view of the spool, and nothing else."""
