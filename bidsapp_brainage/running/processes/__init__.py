"""Processes of a run: children, workers that stay, and other runs on the same scans."""
