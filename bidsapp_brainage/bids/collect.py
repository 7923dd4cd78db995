"""Which T1w images are processed, with what is known about the people on them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.bids.ages import DEFAULT_AGE_COLUMN, Age, AgeBook
from bidsapp_brainage.bids.names import scan_entities
from bidsapp_brainage.errors import DataError, NoInputError, UsageError
from bidsapp_brainage.io import read_json

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

    from bidsapp_brainage.settings import Selection

_FILTER_KEY = "t1w"
_FILTER_FORM = '{"t1w": {"acquisition": "mprage"}}'
#: What pybids calls the entities that a T1w file may have.
_FILTER_ENTITIES = (  # fmt: skip
    "acquisition",
    "ceagent",
    "chunk",
    "datatype",
    "desc",
    "echo",
    "extension",
    "inv",
    "mt",
    "part",
    "proc",
    "reconstruction",
    "run",
    "sample",
    "session",
    "space",
    "subject",
    "suffix",
    "task",
    "tracer",
)
_OTHER_DATATYPES = "beh|dwi|eeg|fmap|func|ieeg|meg|micr|motion|mrs|nirs|perf|pet"


@dataclass(frozen=True)
class Scan:
    """One T1w image to process.

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
    """

    path: Path
    entities: tuple[tuple[str, str], ...]
    age: Age
    sex: str = "n/a"
    site: str = "n/a"
    relative_path: str = ""

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


def collect_scans(bids_dir: Path, selection: Selection) -> tuple[list[Scan], list[str]]:
    """Find the T1w images that were asked for, in natural order of their paths.

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
    """
    subjects = wanted_participants(bids_dir, selection.participant_label)
    query = build_query(selection)
    layout, messages = _open_layout(bids_dir, selection, subjects)
    names = layout.get(subject=subjects, return_type="filename", invalid_filters="allow", **query)
    paths = sorted((Path(name) for name in names), key=_natural)
    paths = [path for path in paths if _wanted_labels(path, selection)]
    if not paths:
        raise NoInputError(_nothing_found(bids_dir, selection, layout, subjects, query))
    scans = _with_people(paths, bids_dir, selection)
    messages += _absent(subjects, scans)
    messages += [message for path in paths for message in _broken(path)]
    messages += _age_messages(scans)
    return scans, messages


def without_scans(labels: Sequence[str], scans: Sequence[Scan]) -> list[str]:
    """Participants that were asked for by label but have no matching T1w image."""
    with_scans = {scan.subject for scan in scans}
    return [label for label in labels if label not in with_scans]


def dataset_participants(bids_dir: Path) -> list[str]:
    """Labels of all participant folders, in natural order."""
    labels = [path.name[4:] for path in Path(bids_dir).glob("sub-*") if path.is_dir()]
    return sorted(labels, key=lambda label: _natural(Path(label)))


def wanted_participants(bids_dir: Path, labels: Sequence[str]) -> list[str]:
    """The participants to process; all if no label is given."""
    known = dataset_participants(bids_dir)
    if not known:
        raise NoInputError(
            f"{bids_dir} has no sub-* folder: give the root of a BIDS dataset as the first "
            "argument."
        )
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise UsageError(
            f"`participant_label` {' '.join(unknown)}: not in {bids_dir}. Known labels: "
            f"{_shorten(known)}."
        )
    return list(dict.fromkeys(labels)) or known


def _shorten(labels: Sequence[str], limit: int = 30) -> str:
    shown = " ".join(labels[:limit])
    return shown if len(labels) <= limit else f"{shown} ... ({len(labels)} in all)"


def build_query(selection: Selection) -> dict[str, object]:
    """Arguments for ``BIDSLayout.get`` from the filter file and the defaults.

    Raises :class:`UsageError` if that file is missing, not JSON, or uses unknown names.
    """
    query: dict[str, object] = {
        "suffix": "T1w",
        "datatype": "anat",
        "extension": [".nii.gz", ".nii"],
        "part": ["mag", None],
        "space": None,
        "desc": None,
    }
    if selection.bids_filter_file is not None:
        query |= read_filter_file(selection.bids_filter_file)
    return {key: _pybids_value(value) for key, value in query.items()}


def read_filter_file(path: Path) -> dict[str, object]:
    """The ``t1w`` part of a ``bids_filter_file``.

    Raises
    ------
    UsageError
        The file is missing or no JSON, has filters but none for T1w images, or has entities that
        they do not have.
    """
    content = _filters(path)
    filters = content.get(_FILTER_KEY, {})
    if content and _FILTER_KEY not in content:
        raise UsageError(
            f"`bids_filter_file` {path} has {_shorten(sorted(content))}, and nothing for "
            f'"{_FILTER_KEY}" (in small letters), which alone is read here: {_FILTER_FORM}.'
        )
    if not isinstance(filters, dict):
        raise UsageError(f"`bids_filter_file` {path} must look like {_FILTER_FORM}.")
    unknown = sorted(set(filters) - set(_FILTER_ENTITIES))
    if unknown:
        raise UsageError(
            f"`bids_filter_file` {path}: {', '.join(unknown)} is not an entity of a T1w image; "
            f"known: {', '.join(_FILTER_ENTITIES)}."
        )
    return dict(filters)


def unread_filters(path: Path) -> list[str]:
    """Keys of a ``bids_filter_file`` that are for images of other kinds."""
    return sorted(set(_filters(path)) - {_FILTER_KEY})


def _filters(path: Path) -> dict[str, object]:
    """Content of a ``bids_filter_file``."""
    try:
        content = json.loads(Path(path).read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise UsageError(f"`bids_filter_file` {path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"`bids_filter_file` {path} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise UsageError(f"`bids_filter_file` {path} must look like {_FILTER_FORM}.")
    return content


def _pybids_value(value: object) -> object:
    """``null`` means that the entity must be absent, ``"*"`` that it must be present."""
    from bids.layout import Query

    if isinstance(value, list):
        return [_pybids_value(item) for item in value]
    if value is None:
        return Query.NONE
    if value == "*":
        return Query.ANY
    if isinstance(value, str):
        match = re.fullmatch(r"<?Query\.(NONE|ANY|OPTIONAL)(?::\s*\d+>)?", value)
        return Query[match[1]] if match else value
    return value


def _wanted_labels(path: Path, selection: Selection) -> bool:
    """Whether session and run of a file are among the wanted ones (labels as written)."""
    entities = dict(scan_entities(path))
    sessions, runs = selection.session_label, selection.run_label
    if sessions and entities.get("ses") not in sessions:
        return False
    if not runs:
        return True
    run = entities.get("run", "")
    return run in runs or run.lstrip("0") in {label.lstrip("0") for label in runs} - {""}


def _open_layout(
    bids_dir: Path, selection: Selection, subjects: Sequence[str]
) -> tuple[BIDSLayout, list[str]]:
    """Index the dataset: only the wanted participants, or all if the index is kept."""
    database = selection.bids_database_dir
    stored = database is not None and (Path(database) / "layout_index.sqlite").is_file()
    layout = _index(bids_dir, subjects if database is None else None, database)
    if not stored:
        return layout, []
    missing = sorted(set(subjects) - set(layout.get_subjects()))
    if not missing:
        return layout, []
    return layout, [
        f"The index in {database} does not know {_shorten(missing)}: it is older than the "
        "dataset. Remove that folder to index again."
    ]


def _index(bids_dir: Path, subjects: Sequence[str] | None, database: Path | None) -> BIDSLayout:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    ignored = [
        re.compile(r"^/(?!sub-)[^/]+/"),  # everything at the root that is not a participant
        re.compile(rf"^/sub-[^/]+(/ses-[^/]+)?/({_OTHER_DATATYPES})(/|$)"),
        re.compile(r"/\."),
    ]
    if subjects is not None:
        wanted = "|".join(re.escape(label) for label in subjects)
        ignored.append(re.compile(rf"^/sub-(?!({wanted})(/|$))"))
    described = read_json(Path(bids_dir) / "dataset_description.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pybids warns about its own future, not about the data
        return BIDSLayout(
            bids_dir,
            validate=False,
            is_derivative=described.get("DatasetType") == "derivative",  # else nothing is found
            database_path=database,
            indexer=BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignored),
        )


def _nothing_found(
    bids_dir: Path,
    selection: Selection,
    layout: BIDSLayout,
    subjects: Sequence[str],
    query: dict[str, object],
) -> str:
    """Message with the query that was used and what would have been there."""
    parts = {key: value for key, value in query.items() if key not in ("space", "desc", "part")}
    parts |= {"participant": _shorten(subjects)}
    parts |= {"session": " ".join(selection.session_label)} if selection.session_label else {}
    parts |= {"run": " ".join(selection.run_label)} if selection.run_label else {}
    shown = ", ".join(f"{key}={value}" for key, value in parts.items())
    present = sorted(str(path) for path in layout.get_sessions())
    hint = f" Sessions of these participants: {_shorten(present)}." if present else ""
    return (
        f"No T1w image in {bids_dir} matches {shown}.{hint} Check the labels and "
        "`bids_filter_file`; the files must be named sub-<label>[_ses-<label>]_T1w.nii.gz in anat/."
    )


def _with_people(paths: Sequence[Path], bids_dir: Path, selection: Selection) -> list[Scan]:
    """Add ages, sex and site to the images."""
    book = AgeBook(bids_dir, age_column=selection.age_column, age_file=selection.age_file)
    scans = []
    for path in paths:
        entities = scan_entities(path)
        relative = Path(os.path.relpath(path, bids_dir)).as_posix()
        person = book.person(dict(entities), relative)
        scans.append(Scan(path, entities, person.age, person.sex, person.site, relative))
    if selection.age_column not in (DEFAULT_AGE_COLUMN, *book.columns()):
        raise UsageError(
            f"`age_column` {selection.age_column}: no table of {bids_dir} has it. "
            f"Columns found: {', '.join(book.columns()) or 'none'}."
        )
    _check_unique(scans)
    return _flag_shared_ages(scans)


def _check_unique(scans: Sequence[Scan]) -> None:
    """Two files that would give the same output names cannot both be processed."""
    counts = Counter(scan.label for scan in scans)
    doubled = [label for label, count in counts.items() if count > 1]
    if doubled:
        files = [scan.relative_path for scan in scans if scan.label == doubled[0]]
        raise DataError(
            f"{doubled[0]} has several T1w files with the same outputs ({', '.join(files)}): "
            "keep one, or choose with `bids_filter_file`."
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


def _absent(subjects: Sequence[str], scans: Sequence[Scan]) -> list[str]:
    absent = without_scans(subjects, scans)
    if not absent:
        return []
    return [f"No T1w image matches the selection for: {_shorten(absent)}."]


def _broken(path: Path) -> list[str]:
    """A warning if the content of a file is not there (DataLad, incomplete copy)."""
    if path.is_symlink() and not path.exists():
        return [f"{path} is a link without target: fetch it with `datalad get {path.name}`."]
    if path.stat().st_size == 0:
        return [f"{path} is empty: copy or download it again."]
    return []


def _age_messages(scans: Sequence[Scan]) -> list[str]:
    """One line per note on an age, and one for all people without age."""
    noted: dict[tuple[str, str], list[str]] = {}
    for scan in scans:
        if scan.age.note:
            noted.setdefault((scan.subject, scan.age.note), []).append(scan.label)
    messages = [f"sub-{subject}: {note}." for subject, note in noted]
    unknown = [scan.label for scan in scans if scan.age.value is None]
    if unknown:
        messages.append(
            f"No age for {_shorten(unknown)}: the brain-age gap will be n/a. Give ages in "
            "participants.tsv, sub-<label>_sessions.tsv or `age_file`."
        )
    return messages


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts sub-2 before sub-10."""
    pieces = re.split(r"(\d+)", path.as_posix())
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]
