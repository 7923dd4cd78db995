"""What the group page shows beside contributions: other methods, and other studies."""
