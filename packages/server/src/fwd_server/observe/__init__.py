"""Everybody who reports on calls. All of them are fed by the outcome of a call and by nothing else."""
