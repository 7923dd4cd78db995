"""Command line: parsing, checking, dispatching. Nothing heavy is imported here at the top."""
