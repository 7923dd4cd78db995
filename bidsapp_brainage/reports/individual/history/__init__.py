"""What a page tells of the runs of a person, and of several scans of them."""
