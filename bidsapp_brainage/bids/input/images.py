"""Which images a dataset has, by the labels and filters that were asked for.

A pybids index of everything takes minutes and gigabytes on a large dataset, and only one kind of
file is wanted. So the folders of the wanted participants are listed, and pybids reads the names.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.bids.input.messages import shorten
from bidsapp_brainage.bids.names import scan_entities
from bidsapp_brainage.catalogue.participant import MODALITIES
from bidsapp_brainage.errors import NoInputError, UsageError
from bidsapp_brainage.io import parse_json, read_json

if TYPE_CHECKING:
    from bidsapp_brainage.settings import Selection

T1W = "T1w"
#: What modalities are called in file names; there is no BIDS suffix for SWI yet.
SUFFIXES = MappingProxyType(
    {name: (name, "swi") if name == "SWI" else (name,) for name in (T1W, *MODALITIES)}
)
_FILTER_KEYS = tuple(modality.lower() for modality in SUFFIXES)
_FILTER_FORM = '{"t1w": {"acquisition": "mprage"}}'
#: What pybids calls the entities that such a file may have.
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
#: Folders below a participant that are not looked into.
_PASSED_OVER = re.compile(rf"\..*|{_OTHER_DATATYPES}")


def find_images(
    bids_dir: Path, selection: Selection, subjects: Sequence[str], modality: str = T1W
) -> tuple[list[Path], list[str]]:
    """Images of some participants that were asked for, in natural order of their paths.

    `modality` is one of :data:`SUFFIXES`.

    Returns
    -------
    images : list of Path
    warnings : list of str

    Raises
    ------
    UsageError
        A filter file that cannot be used.
    NoInputError
        Nothing matches.
    """
    query = build_query(selection, modality)
    messages: list[str] = []
    if selection.bids_database_dir is None:
        paths = list(_listed(bids_dir, subjects, query))
    else:
        paths, messages = _indexed(bids_dir, selection.bids_database_dir, subjects, query)
    misnamed = [path for path in paths if not _named_as_its_folder(path, bids_dir)]
    messages += [
        f"{path} is left out: it must be called sub-<label>_..., as its folder is, and labels have "
        "letters and digits only. Rename it."
        for path in misnamed
    ]
    left_out = set(misnamed)
    chosen = [path for path in paths if path not in left_out and _wanted_labels(path, selection)]
    if not chosen:
        raise NoInputError(_nothing_found(bids_dir, selection, subjects, query, modality))
    return sorted(chosen, key=natural), messages


def dataset_participants(bids_dir: Path) -> list[str]:
    """Labels of all participant folders, in natural order."""
    _, folders, _ = next(os.walk(bids_dir), ("", [], []))
    labels = [name.removeprefix("sub-") for name in folders if name.startswith("sub-")]
    return sorted(labels, key=lambda label: natural(Path(label)))


def wanted_participants(bids_dir: Path, labels: Sequence[str]) -> list[str]:
    """The participants to process; all if no label is given."""
    known = dataset_participants(bids_dir)
    if not known:
        raise NoInputError(
            f"{bids_dir} has no sub-* folder: give the root of a BIDS dataset as the first "
            "argument."
        )
    there = set(known)
    unknown = [label for label in labels if label not in there]
    if unknown:
        raise UsageError(
            f"`participant_label` {' '.join(unknown)}: not in {bids_dir}. Known labels: "
            f"{shorten(known)}."
        )
    return list(dict.fromkeys(labels)) or known


def build_query(selection: Selection, modality: str = T1W) -> dict[str, object]:
    """Arguments for ``BIDSLayout.get`` from the filter file and the defaults.

    Raises :class:`UsageError` if that file is missing, not JSON, or uses unknown names.
    """
    query: dict[str, object] = {
        "suffix": modality if len(SUFFIXES[modality]) == 1 else list(SUFFIXES[modality]),
        "datatype": "anat" if modality != "SWI" else ["anat", None],  # its folder may be swi/
        "extension": [".nii.gz", ".nii"],
        "part": ["mag", None],
        "space": None,
        "desc": None,
    }
    if selection.bids_filter_file is not None:
        query |= read_filter_file(selection.bids_filter_file, modality)
    return {key: _pybids_value(value) for key, value in query.items()}


def read_filter_file(path: Path, modality: str = T1W) -> dict[str, object]:
    """The part of a ``bids_filter_file`` for one modality, such as ``t1w``.

    Raises
    ------
    UsageError
        The file is missing or no JSON, has filters but none for images that are read here, or has
        entities that they do not have.
    """
    content = _filters(path)
    filters = content.get(modality.lower(), {})
    if content and not set(_FILTER_KEYS) & set(content):
        raise UsageError(
            f"`bids_filter_file` {path} has {shorten(sorted(content))}, and nothing for "
            f'"{T1W.lower()}" (in small letters), which is read here: {_FILTER_FORM}.'
        )
    if not isinstance(filters, dict):
        raise UsageError(f"`bids_filter_file` {path} must look like {_FILTER_FORM}.")
    unknown = sorted(set(filters) - set(_FILTER_ENTITIES))
    if unknown:
        raise UsageError(
            f"`bids_filter_file` {path}: {', '.join(unknown)} is not an entity of a {modality} "
            f"image; known: {', '.join(_FILTER_ENTITIES)}."
        )
    return dict(filters)


def unread_filters(path: Path, modalities: Sequence[str]) -> list[str]:
    """Keys of a ``bids_filter_file`` that are for images of other kinds than these."""
    return sorted(set(_filters(path)) - {modality.lower() for modality in modalities})


def _filters(path: Path) -> dict[str, object]:
    """Content of a ``bids_filter_file``."""
    try:
        content = parse_json(Path(path))
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


def _named_as_its_folder(path: Path, bids_dir: Path) -> bool:
    """Whether a file has the participant of its folder, and a label that BIDS allows."""
    return f"sub-{dict(scan_entities(path)).get('sub')}" == path.relative_to(bids_dir).parts[0]


def _listed(bids_dir: Path, subjects: Sequence[str], query: Mapping[str, object]) -> Iterator[Path]:
    """Files of participants that a query matches, from their folders and names."""
    entities = _asked(frozenset(query))
    wanted = {name: _values(name, value) for name, value in query.items()}
    endings = wanted["extension"]
    if not all(isinstance(ending, str) for ending in endings):
        endings = ("",)
    for subject in subjects:
        for folder, folders, names in os.walk(bids_dir / f"sub-{subject}", followlinks=True):
            folders[:] = [name for name in folders if not _PASSED_OVER.fullmatch(name)]
            for name in names:
                if name.startswith(".") or not name.endswith(endings):
                    continue
                path = Path(folder, name)
                inside = f"/{path.relative_to(bids_dir).as_posix()}"
                # As bids.layout.parse_file_entities does, which makes other objects of each path.
                file = SimpleNamespace(path=inside)
                if all(_matches(each.match_file(file), wanted[each.name]) for each in entities):
                    yield path


@functools.cache
def _asked(names: frozenset[str]) -> list[Any]:
    """What pybids knows of the entities of a query."""
    from bids.layout import Config

    known: dict[str, Any] = {}
    for config in ("bids", "derivatives"):
        known |= Config.load(config).entities
    return [entity for name, entity in known.items() if name in names]


def _values(name: str, wanted: object) -> tuple[Any, ...]:
    """Values of an entity in a query."""
    values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
    if name != "extension":
        return values
    return tuple(f".{each.lstrip('.')}" if isinstance(each, str) else each for each in values)


def _matches(found: object, wanted: Sequence[object]) -> bool:
    """Whether pybids' ``get`` would take a file with this value of an entity (None: it has none).

    Numbers are compared as numbers, so that a run 1 is ``run-01``.
    """
    from bids.layout import Query

    if Query.OPTIONAL in wanted or found is None:
        return Query.OPTIONAL in wanted or Query.NONE in wanted
    return Query.ANY in wanted or any(_same(found, value) for value in wanted)


def _same(found: object, wanted: object) -> bool:
    texts = (str(found), str(wanted))
    if isinstance(found, int) or isinstance(wanted, int):
        return all(text.isdigit() for text in texts) and int(texts[0]) == int(texts[1])
    return texts[0] == texts[1]


def _indexed(
    bids_dir: Path, database: Path, subjects: Sequence[str], query: Mapping[str, object]
) -> tuple[list[Path], list[str]]:
    """Files of participants that a query matches, from the index that is kept in a folder."""
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    stored = (database / "layout_index.sqlite").is_file()
    ignored = [
        re.compile(r"^/(?!sub-)[^/]+/"),  # everything at the root that is not a participant
        re.compile(rf"^/sub-[^/]+(/ses-[^/]+)?/({_OTHER_DATATYPES})(/|$)"),
        re.compile(r"/\."),
    ]
    described = read_json(Path(bids_dir) / "dataset_description.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pybids warns about its own future, not about the data
        layout = BIDSLayout(
            bids_dir,
            validate=False,
            is_derivative=described.get("DatasetType") == "derivative",  # else nothing is found
            database_path=database,
            indexer=BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignored),
        )
    choice = {"subject": list(subjects), **query}
    names = layout.get(return_type="filename", invalid_filters="allow", **choice)
    missing = sorted(set(subjects) - set(layout.get_subjects())) if stored else []
    old = f"The index in {database} does not know {shorten(missing)}: it is older than the dataset."
    messages = [f"{old} Remove that folder to index again."] if missing else []
    return [Path(name) for name in names], messages


def _nothing_found(
    bids_dir: Path,
    selection: Selection,
    subjects: Sequence[str],
    query: Mapping[str, object],
    modality: str,
) -> str:
    """Message with the query that was used and what would have been there."""
    parts = {key: value for key, value in query.items() if key not in ("space", "desc", "part")}
    parts |= {"participant": shorten(subjects)}
    parts |= {"session": " ".join(selection.session_label)} if selection.session_label else {}
    parts |= {"run": " ".join(selection.run_label)} if selection.run_label else {}
    shown = ", ".join(f"{key}={value}" for key, value in parts.items())
    folders = (each for label in subjects for each in (bids_dir / f"sub-{label}").glob("ses-*"))
    present = sorted({folder.name.removeprefix("ses-") for folder in folders})
    hint = f" Sessions of these participants: {shorten(present)}." if present else ""
    return (
        f"No {modality} image in {bids_dir} matches {shown}.{hint} Check the labels and "
        f"`bids_filter_file`; the files must be named sub-<label>[_ses-<label>]_{modality}.nii.gz "
        "in anat/."
    )


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts sub-2 before sub-10."""
    pieces = re.split(r"(\d+)", path.as_posix())
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]
