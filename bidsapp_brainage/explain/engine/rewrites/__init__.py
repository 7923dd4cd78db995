"""Networks written anew so that they cost less and answer the same."""
