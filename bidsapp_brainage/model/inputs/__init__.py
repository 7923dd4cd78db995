"""Which images a network sees: modalities, and parts of the brain."""
