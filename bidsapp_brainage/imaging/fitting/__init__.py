"""How images are laid on each other: where to begin, and what climbs from there."""
