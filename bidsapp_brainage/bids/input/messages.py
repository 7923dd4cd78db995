"""Messages about many scans, of which each participant is told their own part."""

from __future__ import annotations

from collections.abc import Sequence


def shorten(labels: Sequence[str], limit: int = 30) -> str:
    """Labels in one line, the first ones if there are many."""
    shown = " ".join(labels[:limit])
    return shown if len(labels) <= limit else f"{shown} ... ({len(labels)} in all)"


class ManyScans(str):
    """A message that names scans; as text it names the first of many.

    Parameters
    ----------
    form : str
        The text, with ``{scans}`` where they are named.
    scans : sequence of str
        Labels of scans or participants.
    """

    form: str
    scans: tuple[str, ...]

    def __new__(cls, form: str, scans: Sequence[str]) -> ManyScans:
        """Make the text."""
        message = super().__new__(cls, form.replace("{scans}", shorten(scans)))
        message.form, message.scans = form, tuple(scans)
        return message

    def naming(self, scans: Sequence[str]) -> ManyScans:
        """The same about some of them."""
        return ManyScans(self.form, scans)
