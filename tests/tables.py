"""Tables for tests."""

from __future__ import annotations


def tabbed(text: str) -> str:
    """A table written with spaces as TSV."""
    return "\n".join("\t".join(line.split()) for line in text.strip().splitlines()) + "\n"
