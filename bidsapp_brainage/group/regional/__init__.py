"""Contributions of regions and of groups of regions, of one atlas."""
