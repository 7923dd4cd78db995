"""The page of a group: its tables and figures."""
