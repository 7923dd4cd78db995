"""Figures and pages for people: self-contained HTML made from derivatives only."""
