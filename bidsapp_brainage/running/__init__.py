"""Running the two levels: processes, progress, what became of each scan, pages."""
