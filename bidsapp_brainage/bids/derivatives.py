"""What the participant level wrote: every file found once, by its card, and read when asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import io
from bidsapp_brainage.bids.names import (
    SCAN_ENTITIES,
    atlas_entities,
    parse_name,
    report_path,
    report_places,
    sidecar_path,
)
from bidsapp_brainage.catalogue.cards import Output
from bidsapp_brainage.catalogue.lookup import OUTPUTS
from bidsapp_brainage.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Ordered labels: ``(("sub", "01"), ("ses", "1"))``.
Entities = tuple[tuple[str, str], ...]

_FOLDERS = {"subject": "anat", "figures": "figures"}


@dataclass(frozen=True)
class Derivative:
    """One file of a scan, with the card of its output.

    The entities are those of the scan and, as far as they are in the name, ``atlas``, ``seg`` and
    ``scale``; `model` is empty if no model made it, `space` if it is that of the scan.
    """

    output: Output
    path: Path
    scan: Entities
    model: str
    atlas: Entities
    space: str


@dataclass(frozen=True)
class TableFile:
    """A table with its card and dictionary; ``rows`` is None when it could not be read."""

    output: Output
    path: Path
    rows: pd.DataFrame | None
    sidecar: Mapping[str, object]

    @property
    def first(self) -> Mapping[str, object]:
        """First row, empty when there is none."""
        if self.rows is None or self.rows.empty:
            return {}
        return {str(key): value for key, value in self.rows.iloc[0].items()}


class Derivatives:
    """Files of the participant level in one folder.

    Of participants, sessions and runs (labels without prefix) only the named ones count; empty
    means all. So it is with `outputs`, keys of their cards: whoever asks for few of the files of
    many people gets them sooner.

    Attributes
    ----------
    files : tuple of Derivative
        Sorted by path; files that no card explains are not among them.
    problems : list of str
        One sentence per file that was asked for and could not be read; a broken file leaves a gap,
        never an error.
    """

    def __init__(
        self,
        output_dir: Path,
        *,
        participants: Sequence[str] = (),
        sessions: Sequence[str] = (),
        runs: Sequence[str] = (),
        outputs: Sequence[str] = (),
    ) -> None:
        wanted = {"sub": participants, "ses": sessions, "run": runs}
        asked = [card for card in OUTPUTS if not outputs or card.key in outputs]
        names = [
            (level, path, name)
            for level, path in _paths(Path(output_dir), participants, asked)
            for name in [parse_name(path)]
            if all(not labels or name.get(key) in labels for key, labels in wanted.items())
        ]
        cards = _cards(asked, [*_models(name for _, _, name in names), ""])
        files = (_identify(path, name, level, cards) for level, path, name in names)
        self.files = tuple(file for file in files if file is not None)
        self.problems: list[str] = []

    def select(
        self,
        key: str,
        *,
        scan: Entities | None = None,
        model: str | None = None,
        atlas: Entities | None = None,
        space: str | None = None,
    ) -> list[Derivative]:
        """Files of one output; None means any."""
        wanted = {"scan": scan, "model": model, "atlas": atlas, "space": space}
        asked = {name: value for name, value in wanted.items() if value is not None}
        return [
            file
            for file in self.files
            if file.output.key == key
            and all(getattr(file, name) == value for name, value in asked.items())
        ]

    def table(self, file: Derivative) -> TableFile:
        """A table and its dictionary."""
        return TableFile(
            file.output, file.path, self.rows(file), self.facts(sidecar_path(file.path))
        )

    def rows(self, file: Derivative) -> pd.DataFrame | None:
        """A table alone; None if it cannot be read."""
        try:
            return io.read_tsv(file.path)
        except DataError as error:
            self.problems.append(str(error))
            return None

    def facts(self, path: Path) -> dict[str, object]:
        """Content of a JSON file; empty if it is missing or cannot be read."""
        try:
            content = io.parse_json(path)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.problems.append(f"{path} is not valid JSON ({error}).")
            return {}
        return content if isinstance(content, dict) else {}


class Reports:
    """The pages of people in one folder, wherever the runs that wrote them have put them."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = Path(output_dir)
        self._in_root = frozenset(_names(self._output_dir, "sub-"))

    def page(self, scan: str) -> Path | None:
        """The page that shows a scan, or a person, by name: ``sub-01_ses-1_run-1``, ``sub-01``."""
        name = parse_name(Path(f"{scan}_T1w"))
        if "sub" not in name:
            return None
        sessions = [name["ses"], ""] if "ses" in name else [""]
        places = [
            path
            for session in sessions
            for path in report_places(self._output_dir, name["sub"], session)
        ]
        return next(filter(self._is_there, places), None)

    def of_person(self, subject: str) -> list[Path]:
        """All pages of a person (label without ``sub-``)."""
        person = self._output_dir / f"sub-{subject}"
        folders = [self._output_dir, person, *person.glob("ses-*")]
        names = [report_path(person, subject, session).name for session in ("", "*")]
        return [path for folder in folders for name in names for path in folder.glob(name)]

    def _is_there(self, path: Path) -> bool:
        if path.parent == self._output_dir:
            return path.name in self._in_root
        try:
            return path.is_file()
        except OSError:  # a name that no file can have
            return False


def scan_name(scan: Entities) -> str:
    """Name of a scan in logs, tables and reports: ``sub-01_ses-1_run-1``."""
    return "_".join(f"{key}-{value}" for key, value in scan)


def tried_participants(output_dir: Path) -> set[str]:
    """Participants (``sub-01``) with a folder or a page, also those who failed."""
    folders = {path.name for path in Path(output_dir).glob("sub-*") if path.is_dir()}
    pages = Path(output_dir).glob("sub-*.html")
    return folders | {path.stem.split("_")[0] for path in pages}


def _paths(
    output_dir: Path, participants: Sequence[str], cards: Sequence[Output]
) -> Iterator[tuple[str, Path]]:
    """Files whose names end like those of these cards, sorted by path."""
    ends = {
        level: tuple({f"_{card.suffix}{card.extension}" for card in cards if card.level == level})
        for level in _FOLDERS
    }
    known = [f"sub-{label}" for label in participants] or _names(output_dir, "sub-")
    for subject in sorted(set(known)):
        root = output_dir / subject
        sessions = [root / name for name in sorted(_names(root, "ses-"))]
        for folder in (root, *sessions):
            for level, name in _FOLDERS.items():
                place = folder / name
                for file in sorted(_names(place, f"{subject}_")) if ends[level] else ():
                    if file.endswith(ends[level]):
                        yield level, place / file


def _names(folder: Path, beginning: str) -> list[str]:
    """What a folder holds under names that begin so; nothing if it is none."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.name.startswith(beginning)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _models(names: Iterable[Mapping[str, str]]) -> list[str]:
    """Models that made a table: their names stand in ``desc``."""
    tables = {card.suffix for card in OUTPUTS if card.is_table and card.desc == "{model}"}
    return sorted(
        {
            name["desc"]
            for name in names
            if name["extension"] == ".tsv" and name["suffix"] in tables and "desc" in name
        }
    )


def _cards(
    asked: Sequence[Output], models: Sequence[str]
) -> dict[tuple[str, ...], list[tuple[Output, str]]]:
    """Cards, with the model that they speak of, by level, suffix, extension and ``desc``."""
    cards: dict[tuple[str, ...], list[tuple[Output, str]]] = {}
    for card in asked:
        for model in models:
            if bool(model) == ("{model}" in card.desc):
                desc = card.desc.format(model=model)
                place = (card.level, card.suffix, card.extension, desc)
                cards.setdefault(place, []).append((card, model))
    return cards


def _identify(
    path: Path,
    name: Mapping[str, str],
    level: str,
    cards: Mapping[tuple[str, ...], Sequence[tuple[Output, str]]],
) -> Derivative | None:
    scan = tuple((key, name[key]) for key in SCAN_ENTITIES if key in name)
    further = name.keys() - dict(scan).keys() - {"suffix", "extension"}
    for card, model in cards.get(
        (level, name["suffix"], name["extension"], name.get("desc", "")), ()
    ):
        if set(card.required) <= further <= set(card.entities):
            atlas = tuple(atlas_entities(name).items())
            return Derivative(card, path, scan, model, atlas, name.get("space", ""))
    return None
