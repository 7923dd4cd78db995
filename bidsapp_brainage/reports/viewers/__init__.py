"""Volumes to look through in a page: what it holds of them, and what the viewers are told."""
