"""A small synthetic BIDS dataset, so that the app can be tried on any machine."""
