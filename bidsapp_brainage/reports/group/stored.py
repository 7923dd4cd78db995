"""The group tables of one model as they lie on disk: all that the page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bidsapp_brainage.bids.names import atlas_entities, parse_name, sidecar_path
from bidsapp_brainage.catalogue.quantity import Quantity
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group.calibration import calibrated
from bidsapp_brainage.group.outputs import group_path, mean_map_path
from bidsapp_brainage.group.sample import with_numbers
from bidsapp_brainage.io import read_json, read_tsv

_TOPICS = {
    "leakage": "people of the training cohort",
    "collection": "scans that were not processed alike",
    "unreadable": "a table could not be read",
    "gapmodel and occlusionmodel": "models",
    "occlusionstats": "contributions",
    "metrics": "accuracy",
    "sitecalibration": "calibration of sites",
    "harmonisation": "harmonisation of sites",
    "ratings": "ratings",
}
_REMEDIES = {
    "collection": "Run the participant level with one version for all before scans are compared.",
    "unreadable": "Run the participant level again for this participant, then the group level.",
}


@dataclass(frozen=True)
class ShownNote:
    """A note in the words of the page."""

    warning: bool
    topic: str
    sentence: str
    remedy: str


def stored_models(output_dir: Path) -> list[str]:
    """Labels of the models whose group tables lie in the folder."""
    names = [parse_name(path) for path in Path(output_dir).glob("group_*_brainage.tsv")]
    return sorted({name["desc"] for name in names if "desc" in name and "atlas" not in name})


@dataclass(frozen=True)
class MeanMap:
    """Mean occlusion map of one atlas, in a template's space, and of how many participants."""

    path: Path
    space: str
    res: str | None
    n_participants: int


class StoredResults:
    """Reads the group tables of one model (its label); what is missing or broken leaves a gap."""

    def __init__(self, output_dir: Path, label: str) -> None:
        self.output_dir = Path(output_dir)
        self.label = label

    def path(self, key: str, entities: Mapping[str, str] | None = None) -> Path:
        """Where a group table lies."""
        return group_path(self.output_dir, self.label, key, dict(entities or {}))

    def rows(
        self, key: str, entities: Mapping[str, str] | None = None, *, needs: Iterable[str] = ()
    ) -> pd.DataFrame:
        """Rows of a table; an empty frame when it is missing, unreadable or lacks a column."""
        path = self.path(key, entities)
        try:
            rows = read_tsv(path) if path.is_file() else pd.DataFrame()
        except DataError:
            return pd.DataFrame()
        return rows if set(needs) <= set(rows) else pd.DataFrame()

    def scans(self) -> pd.DataFrame:
        """One row per scan: predictions, what is known of the person, ``flagged``.

        Calibrated values, where there are any, stand in the place of those as predicted.
        """
        scans = calibrated(with_numbers(self.rows("group_brainage")))
        absent = [name for name in ("participant_id", "scan", "sex", "site") if name not in scans]
        return scans.assign(**dict.fromkeys(absent))

    def facts(self) -> Mapping[str, object]:
        """What the sidecar of the predictions says about their making."""
        return read_json(sidecar_path(self.path("group_brainage")))

    def model_facts(self) -> Mapping[str, object]:
        """What the sidecar says about the model."""
        card = self.facts().get("Model")
        return card if isinstance(card, dict) else {}

    @property
    def quantity(self) -> Quantity:
        """What the contributions of regions are about."""
        return Quantity.from_model(self.model_facts())

    def atlases(self) -> list[dict[str, str]]:
        """Entities of the atlases with mean contributions."""
        places = []
        for path in sorted(self.output_dir.glob("group_*_occlusionstats.tsv")):
            entities = atlas_entities(parse_name(path))
            if path == self.path("occlusionstats", entities):
                places.append(entities)
        return places

    def mean_map(self, entities: Mapping[str, str]) -> MeanMap | None:
        """Mean occlusion map of an atlas in template space, if there is one."""
        path = mean_map_path(self.output_dir, self.label, entities)
        if path is None:
            return None
        name = parse_name(path)
        count = read_json(sidecar_path(path)).get("NumberOfParticipants")
        return MeanMap(path, name["tpl"], name.get("res"), count if isinstance(count, int) else 0)

    def notes(self) -> list[ShownNote]:
        """Every note, warnings first."""
        rows = self.rows("notes", needs=("topic", "severity", "sentence"))
        notes = [
            ShownNote(
                row["severity"] == "warning",
                _TOPICS.get(row["topic"], str(row["topic"])),
                str(row["sentence"]),
                _REMEDIES.get(row["topic"], ""),
            )
            for row in rows.to_dict("records")
        ]
        return sorted(notes, key=lambda note: not note.warning)
