"""Statistics of the contributions of regions."""
