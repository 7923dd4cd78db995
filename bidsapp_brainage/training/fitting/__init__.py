"""Fitting one network: losses, the loop over epochs, ridge regression."""
