"""Running a workflow: processes, progress, what became of each scan."""
