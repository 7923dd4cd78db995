"""Training of networks that see raw heads."""
