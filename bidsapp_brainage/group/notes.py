"""What an analysis gives: tables, and sentences that accompany them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of


@dataclass(frozen=True)
class Note:
    """A sentence about one table or analysis; ``severity`` is ``note`` or ``warning``."""

    topic: str
    sentence: str
    severity: str = "note"


class Findings(NamedTuple):
    """Tables by the key of the output, only those that the sample supports, and notes."""

    tables: Mapping[str, pd.DataFrame]
    notes: Sequence[Note] = ()


def findings(key: str, table: pd.DataFrame | None, why_not: str = "") -> Findings:
    """One table if it has rows; else the note that says why there is none."""
    if table is not None and not table.empty:
        return Findings({key: table})
    return Findings({}, [Note(key, why_not)] if why_not else [])


def notes_of(topic: str, sentences: Iterable[str], severity: str = "note") -> list[Note]:
    """Several sentences about one topic."""
    return [Note(topic, sentence, severity) for sentence in sentences]


def notes_table(notes: Sequence[Note]) -> pd.DataFrame:
    """Warnings first; equal sentences once."""
    order = sorted(dict.fromkeys(notes), key=lambda note: note.severity != "warning")
    rows = [(note.topic, note.severity, note.sentence) for note in order]
    return pd.DataFrame(rows, columns=columns_of("notes"))
