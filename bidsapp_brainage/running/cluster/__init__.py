"""Scans dealt out to workers of Dask: on this machine, in a queue, or of a cluster that runs."""
