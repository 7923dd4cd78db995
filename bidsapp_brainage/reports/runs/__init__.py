"""The page of all runs, and words about a run."""
