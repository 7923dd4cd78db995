"""The page of one participant: what is read, and what the template shows."""
