"""Tissue classes and regions of a brain, whatever the contrast of its image."""
