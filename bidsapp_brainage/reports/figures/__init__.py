"""Figures: overlays of images, the age, and how matplotlib draws for a page."""
