"""Tables of many scans as one: read together, and kept in Parquet."""
