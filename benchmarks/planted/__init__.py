"""Contributions of regions against a known truth."""
