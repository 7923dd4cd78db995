"""Sentences that accompany the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

COLUMNS = ("topic", "severity", "sentence")


@dataclass(frozen=True)
class Note:
    """A sentence about one table or analysis; ``severity`` is ``note`` or ``warning``."""

    topic: str
    sentence: str
    severity: str = "note"


def notes_of(topic: str, sentences: Iterable[str], severity: str = "note") -> list[Note]:
    """Several sentences about one topic."""
    return [Note(topic, sentence, severity) for sentence in sentences]


def notes_table(notes: Sequence[Note]) -> pd.DataFrame:
    """Warnings first; equal sentences once."""
    order = sorted(dict.fromkeys(notes), key=lambda note: note.severity != "warning")
    rows = [(note.topic, note.severity, note.sentence) for note in order]
    return pd.DataFrame(rows, columns=list(COLUMNS))
