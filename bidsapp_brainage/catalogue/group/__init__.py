"""Cards of the tables of a group."""
