"""What a brain-age gap goes together with: factors, and differences between groups."""
