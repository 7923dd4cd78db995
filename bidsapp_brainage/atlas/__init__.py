"""Templates and atlases: where they come from, and how a region keeps its index and name."""
