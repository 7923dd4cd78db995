"""Training of networks on model inputs that this app has written; not needed for using it."""
