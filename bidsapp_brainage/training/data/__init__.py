"""People, their images and targets, and augmented copies to learn from."""
