"""Verdicts on the pages: what they are made from, and how they are shown."""
