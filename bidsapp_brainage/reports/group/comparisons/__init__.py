"""What the group page shows beside contributions: groups, other methods, other studies."""
