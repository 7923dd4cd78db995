"""Which images are processed, with what is known about the people on them."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.bids.ages import DEFAULT_AGE_COLUMN, Age, AgeBook
from bidsapp_brainage.bids.dataset import holds_loose_images
from bidsapp_brainage.bids.input.annex import fetch, is_elsewhere
from bidsapp_brainage.bids.input.images import (
    SUFFIXES,
    T1W,
    find_images,
    natural,
    unread_filters,
    wanted_participants,
)
from bidsapp_brainage.bids.input.messages import ManyScans
from bidsapp_brainage.bids.names import parse_name, scan_entities
from bidsapp_brainage.catalogue.quantity import AGE
from bidsapp_brainage.errors import DataError, NoInputError, UsageError

if TYPE_CHECKING:
    from bidsapp_brainage.model.outputs import Head
    from bidsapp_brainage.settings import Selection


@dataclass(frozen=True)
class Wanted:
    """Images that a model sees.

    Attributes
    ----------
    modalities : tuple of str
        Of one session; the first that is there is the scan, to which the others are registered.
    any_subset : bool
        Whether any of them will do.
    """

    modalities: tuple[str, ...] = (T1W,)
    any_subset: bool = False

    @property
    def named(self) -> str:
        """Images without which there is no scan, for messages: ``T1w``, ``T1w or T2w``."""
        return " or ".join(self.modalities if self.any_subset else self.modalities[:1])


@dataclass(frozen=True)
class Companion:
    """An image of another modality of the same session; its path as in :class:`Scan`."""

    modality: str
    path: Path
    relative_path: str


@dataclass(frozen=True)
class Scan:
    """One image to process, usually a T1w, with others of the same session.

    Attributes
    ----------
    path : Path
        The image.
    entities : tuple of (str, str)
        Ordered short BIDS entities that outputs keep, labels as written:
        ``(("sub", "01"), ("ses", "1"), ("run", "1"))``.
    age : Age
        Chronological age in years.
    sex, site : str
        From ``participants.tsv``; ``n/a`` when unknown.
    relative_path : str
        Path of the image relative to the dataset, with ``/``.
    facts : tuple of (str, str)
        All that ``participants.tsv`` says of the person, by column.
    modality : str
        Of the image.
    others : tuple of Companion
        Images of further modalities that the model sees.
    lacking : tuple of str
        Modalities that the model needs, and that the session does not have.
    """

    path: Path
    entities: tuple[tuple[str, str], ...]
    age: Age
    sex: str = "n/a"
    site: str = "n/a"
    relative_path: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    modality: str = T1W
    others: tuple[Companion, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """Participant label without ``sub-``."""
        return dict(self.entities)["sub"]

    @property
    def session(self) -> str | None:
        """Session label without ``ses-``; None if the dataset has no sessions."""
        return dict(self.entities).get("ses")

    @property
    def run(self) -> str | None:
        """Run label without ``run-``; None if there is one run."""
        return dict(self.entities).get("run")

    @property
    def label(self) -> str:
        """Name for logs and tables: ``sub-01_ses-1_run-1``."""
        return "_".join(f"{key}-{value}" for key, value in self.entities)


def collect_scans(
    bids_dir: Path, selection: Selection, wanted: Wanted | None = None
) -> tuple[list[Scan], list[str]]:
    """Find the images that were asked for, in natural order of their paths.

    With ``datalad_get`` what is not here is fetched; nothing else uses the network. By default
    `wanted` are T1w images alone.

    Returns
    -------
    scans : list of Scan
    warnings : list of str
        What the user should know, one line each.

    Raises
    ------
    UsageError
        A label that the dataset does not have (the message lists the known ones), a filter file
        that cannot be used, an age column that no table has.
    NoInputError
        Nothing matches the selection.
    DataError
        A table that cannot be read, or that lists a person twice.
    MissingExecutableError
        Something has to be fetched, and nothing is installed that can.
    """
    wanted = wanted or Wanted()
    subjects = wanted_participants(bids_dir, selection.participant_label)
    found, messages = _find_all(bids_dir, selection, subjects, wanted)
    messages += _without_effect(selection.bids_filter_file, wanted)
    paths, companions = _sessions(found, wanted)
    every = [*paths, *(path for others in companions.values() for path in others.values())]
    if selection.datalad_get:
        fetch(every, bids_dir)
    scans = [
        _with_others(scan, companions[scan.path], wanted, bids_dir)
        for scan in _with_people(paths, bids_dir, selection)
    ]
    messages += _absent(subjects, scans, wanted)
    messages += [message for path in every for message in _broken(path)]
    messages += _age_messages(scans, bids_dir)
    return scans, messages


def target_messages(scans: Sequence[Scan], heads: Sequence[Head]) -> list[str]:
    """What the tables do not tell of the targets of a model but for the age, one line each.

    Predictions are made all the same; the group level leaves these people out of their scores.
    """
    messages = []
    for head in (head for head in heads if head.name != AGE):
        told = {scan.label: dict(scan.facts).get(head.name) for scan in scans}
        unknown = [label for label, value in told.items() if value is None]
        if len(unknown) == len(scans):
            messages.append(
                f"participants.tsv tells {head.name} of nobody: it is predicted, but cannot be "
                f"compared with anything. Add a column {head.name} to score it."
            )
        elif unknown:
            form = f"participants.tsv does not tell {head.name} of {{scans}}."
            messages.append(ManyScans(form, unknown))
        strange = {
            value: label
            for label, value in told.items()
            if head.classes and value is not None and value not in head.classes
        }
        messages += [
            f"participants.tsv says {head.name} {value} of {label}, which the model does not know: "
            f"its classes are {', '.join(head.classes)}. Use the same words to score it."
            for value, label in strange.items()
        ]
    return messages


def _find_all(
    bids_dir: Path, selection: Selection, subjects: Sequence[str], wanted: Wanted
) -> tuple[dict[str, list[Path]], list[str]]:
    """Images of every modality, and what the user should know.

    Raises
    ------
    NoInputError
        There are none of the first modality, or, where any will do, of all of them.
    """
    found, messages = {}, []
    first, *others = wanted.modalities
    for modality in wanted.modalities:
        try:
            found[modality], told = find_images(bids_dir, selection, subjects, modality)
        except NoInputError:
            if modality == first and not (wanted.any_subset and others):
                raise
            found[modality], told = [], []
        messages += told
    if not any(found.values()):
        find_images(bids_dir, selection, subjects, first)  # raises what there is to say
    return found, messages


def _sessions(
    found: Mapping[str, Sequence[Path]], wanted: Wanted
) -> tuple[list[Path], dict[Path, dict[str, Path]]]:
    """Images to process, and for each of them those of other modalities of the same session.

    Of several images of another modality that of the same run is taken, else the first.
    """
    first, *later = wanted.modalities
    companions: dict[Path, dict[str, Path]] = {path: {} for path in found[first]}
    covered = {_session(path) for path in found[first]}
    for modality in later:
        by_session: dict[tuple[str | None, ...], list[Path]] = {}
        for path in found[modality]:
            by_session.setdefault(_session(path), []).append(path)
        for path, others in companions.items():
            if candidates := by_session.get(_session(path)):
                same = [each for each in candidates if _run(each) == _run(path)]
                others[modality] = (same or candidates)[0]
        new = [path for path in found[modality] if _session(path) not in covered]
        if wanted.any_subset:
            companions |= {path: {} for path in new}
            covered |= {_session(path) for path in new}
    return sorted(companions, key=natural), companions


def _session(path: Path) -> tuple[str | None, ...]:
    entities = dict(scan_entities(path))
    return entities.get("sub"), entities.get("ses")


def _run(path: Path) -> str | None:
    return dict(scan_entities(path)).get("run")


def _with_others(scan: Scan, others: Mapping[str, Path], wanted: Wanted, bids_dir: Path) -> Scan:
    """A scan with the images of other modalities."""
    shown = parse_name(scan.path)["suffix"]
    own = next((name for name in wanted.modalities if shown in SUFFIXES[name]), T1W)
    lacking = [name for name in wanted.modalities if name != own and name not in others]
    return dataclasses.replace(
        scan,
        modality=own,
        others=tuple(
            Companion(name, path, _relative(path, bids_dir)) for name, path in others.items()
        ),
        lacking=() if wanted.any_subset else tuple(lacking),
    )


def without_scans(labels: Sequence[str], scans: Sequence[Scan]) -> list[str]:
    """Participants that were asked for by label but have no matching image."""
    with_scans = {scan.subject for scan in scans}
    return [label for label in labels if label not in with_scans]


def _with_people(paths: Sequence[Path], bids_dir: Path, selection: Selection) -> list[Scan]:
    """Add ages, sex and site to the images."""
    book = AgeBook(bids_dir, age_column=selection.age_column, age_file=selection.age_file)
    scans = []
    for path in paths:
        entities = scan_entities(path)
        relative = _relative(path, bids_dir)
        person = book.person(dict(entities), relative)
        scans.append(
            Scan(path, entities, person.age, person.sex, person.site, relative, person.facts)
        )
    if selection.age_column not in (DEFAULT_AGE_COLUMN, *book.columns()):
        raise UsageError(
            f"`age_column` {selection.age_column}: no table of {bids_dir} has it. "
            f"Columns found: {', '.join(book.columns()) or 'none'}."
        )
    _check_unique(scans)
    return _flag_shared_ages(scans)


def _relative(path: Path, bids_dir: Path) -> str:
    return Path(os.path.relpath(path, bids_dir)).as_posix()


def _check_unique(scans: Sequence[Scan]) -> None:
    """Two files that would give the same output names cannot both be processed."""
    counts = Counter(scan.label for scan in scans)
    doubled = [label for label, count in counts.items() if count > 1]
    if doubled:
        files = [scan.relative_path for scan in scans if scan.label == doubled[0]]
        raise DataError(
            f"{doubled[0]} has several {parse_name(scans[0].path)['suffix']} files with the same "
            f"outputs ({', '.join(files)}): keep one, or choose with `bids_filter_file`."
        )


def _flag_shared_ages(scans: Sequence[Scan]) -> list[Scan]:
    """Note on every session of a person for whom only one age is known."""
    sessions: dict[str, set[str | None]] = {}
    for scan in scans:
        if scan.age.source == "participants.tsv":
            sessions.setdefault(scan.subject, set()).add(scan.session)
    flagged = []
    for scan in scans:
        count = len(sessions.get(scan.subject, ()))
        if scan.age.source == "participants.tsv" and count > 1:
            note = (
                f"the same age from participants.tsv is used for {count} sessions; put the age of "
                f"each session into sub-{scan.subject}_sessions.tsv"
            )
            joined = "; ".join(filter(None, [scan.age.note, note]))
            scan = dataclasses.replace(scan, age=dataclasses.replace(scan.age, note=joined))
        flagged.append(scan)
    return flagged


def _without_effect(filters: Path | None, wanted: Wanted) -> list[str]:
    others = [] if filters is None else unread_filters(filters, wanted.modalities)
    if not others:
        return []
    read = ", ".join(modality.lower() for modality in wanted.modalities)
    return [
        f"`bids_filter_file` {filters}: without effect are {', '.join(others)}; the "
        f"model reads {read}."
    ]


def _absent(subjects: Sequence[str], scans: Sequence[Scan], wanted: Wanted) -> list[str]:
    absent = without_scans(subjects, scans)
    if not absent:
        return []
    return [ManyScans(f"No {wanted.named} image matches the selection for: {{scans}}.", absent)]


def _broken(path: Path) -> list[str]:
    """A warning if the content of a file is not there (DataLad, incomplete copy)."""
    if is_elsewhere(path):
        return [
            f"{path} is a link without target: fetch it with `datalad get {path.name}`, or let the "
            "run fetch what is missing with `datalad_get`."
        ]
    if path.stat().st_size == 0:
        return [f"{path} is empty: copy or download it again."]
    return []


def _age_messages(scans: Sequence[Scan], bids_dir: Path) -> list[str]:
    """One line per note on an age, and one for all people without age."""
    noted: dict[tuple[str, str], list[str]] = {}
    for scan in scans:
        if scan.age.note:
            noted.setdefault((scan.subject, scan.age.note), []).append(scan.label)
    messages = [f"sub-{subject}: {note}." for subject, note in noted]
    unknown = [scan.label for scan in scans if scan.age.value is None]
    if unknown:
        remedy = "Give ages in participants.tsv, sub-<label>_sessions.tsv or `age_file`."
        if holds_loose_images(bids_dir):  # these options are not there
            remedy = "Give ages by `age` or `people`."
        form = f"No age for {{scans}}: the brain-age gap will be n/a. {remedy}"
        messages.append(ManyScans(form, unknown))
    return messages
