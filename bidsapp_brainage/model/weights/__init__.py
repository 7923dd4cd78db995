"""Files of weights: described, fetched, verified and loaded into networks."""
