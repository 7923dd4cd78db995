"""Derivatives of fMRIPrep reused, compared with the app's own preprocessing."""
