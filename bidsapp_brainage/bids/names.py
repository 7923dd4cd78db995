"""The one place that knows file names: pybids path patterns, made from the output cards."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bidsapp_brainage.catalogue.cards import ATLAS, Output
from bidsapp_brainage.catalogue.lookup import OUTPUTS, output
from bidsapp_brainage.errors import WorkflowError
from bidsapp_brainage.settings import ReportLevel

#: Entities of a raw T1w file that its derivatives keep, in the order of the BIDS schema.
SCAN_ENTITIES = ("sub", "ses", "acq", "ce", "rec", "run", "echo", "part")

#: How paths begin, by level; all entities follow the last of them.
_BEGIN = {
    "subject": "sub-{sub}[/ses-{ses}]/anat/",
    "figures": "sub-{sub}/figures/",
    "template": "tpl-{tpl}/anat/tpl-{tpl}",
    "atlas": "",
    "group": "group",
    "phenotype": "phenotype/",
    "ratings": "ratings/",
}

_LABEL = re.compile(r"^[a-zA-Z0-9+]+$")
_PAIR = re.compile(r"^([a-z]+)-([a-zA-Z0-9+]+)$")

#: Extensions with more than one dot.
_DOUBLE_EXTENSIONS = (".nii.gz",)


@functools.lru_cache
def path_patterns(level: str, suffix: str, extension: str) -> tuple[str, ...]:
    """Path patterns of all outputs with this end; a sidecar is named like its file."""
    return tuple(
        _pattern(card, suffix, extension)
        for card in OUTPUTS
        if card.level == level
        and card.suffix in (suffix, "")
        and extension in (card.extension, ".json")
    )


def _pattern(card: Output, suffix: str, extension: str) -> str:
    """Pybids path pattern; what stands in brackets may be absent."""
    begin = _BEGIN[card.level]
    if card.level in ("subject", "figures"):
        begin += "sub-{sub}" + "".join(f"[_{key}-{{{key}}}]" for key in SCAN_ENTITIES[1:])
    if "cohort" in card.entities:
        begin = begin.replace("/", "[/cohort-{cohort}]/", 1)
    entities = "".join(
        f"_{key}-{{{key}}}" if key in card.required else f"[_{key}-{{{key}}}]"
        for key in card.entities
    )
    folder, _, name = f"{begin}{entities}_{suffix}{extension}".rpartition("/")
    return f"{folder}/{name.lstrip('_')}".lstrip("/")


def derivative_path(
    output_dir: Path,
    entities: Iterable[tuple[str, str]] | Mapping[str, str],
    *,
    suffix: str,
    extension: str,
    datatype: str = "anat",
    **more: object,
) -> Path:
    """Path of one output file; no other code makes such a name, and nothing is created.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    entities : pairs or mapping
        Entities of the scan with short BIDS keys (``Scan.entities``); empty for files at the
        root, under ``tpl-*`` (give `tpl`) and for group files.
    suffix, extension : str
        For example ``"T1w"`` and ``".nii.gz"``.
    datatype : {"anat", "figures", "group", "phenotype", "ratings"}
        ``"figures"`` puts a picture into ``sub-X/figures``. For files without subject it may stay
        at its default, except for the last two.
    **more
        Further entities: `space`, `atlas`, `desc`, `from_`, `tpl` ...; ``None`` means absent.

    Raises
    ------
    WorkflowError
        If no pattern takes exactly these entities, or a label is not alphanumeric.
    """
    from bids.layout.writing import build_path

    wanted = {key.rstrip("_"): str(value) for key, value in dict(entities).items()}
    wanted |= {key.rstrip("_"): str(value) for key, value in more.items() if value is not None}
    for key, value in wanted.items():
        if not _LABEL.match(value):
            raise WorkflowError(
                f"{key}-{value} is not a BIDS label: use only letters and digits for {key!r}."
            )
    kind = _kind_of(wanted, suffix, datatype)
    patterns = path_patterns(kind, suffix, extension)
    built = build_path(wanted, list(patterns), strict=True) if patterns else None
    if not built:
        query = {**wanted, "suffix": suffix, "extension": extension}
        raise WorkflowError(f"No {kind} file name exists for {query}; see catalogue/lookup.py.")
    return Path(output_dir) / str(built)


def output_name(key: str, model: str = "") -> dict[str, str]:
    """What the card of an output says about its name, as arguments of :func:`derivative_path`."""
    card = output(key)
    datatype = card.level if card.level in ("figures", "group", "phenotype", "ratings") else "anat"
    name = {"suffix": card.suffix, "extension": card.extension, "datatype": datatype}
    name |= {"desc": card.desc.format(model=model)} if card.desc else {}
    return name | ({"space": card.space} if card.space else {})


def output_path(
    output_dir: Path,
    key: str,
    entities: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    *,
    model: str = "",
    **more: object,
) -> Path:
    """Path of one output by the key of its card; see :func:`derivative_path`.

    `model` is the label of the model, where the name has one.
    """
    labels = {name: str(value) for name, value in more.items() if value is not None}
    return derivative_path(output_dir, entities, **{**output_name(key, model), **labels})


def _kind_of(entities: Mapping[str, str], suffix: str, datatype: str) -> str:
    """Which group of patterns a file belongs to."""
    if datatype in ("phenotype", "ratings"):
        return datatype
    if "sub" in entities:
        return "figures" if datatype == "figures" else "subject"
    if "tpl" in entities:
        return "template"
    if datatype != "group" and any(c.level == "atlas" and c.suffix == suffix for c in OUTPUTS):
        return "atlas"
    return "group"


def sidecar_path(path: Path) -> Path:
    """The JSON file that describes `path`: same name, extension ``.json``."""
    return path.with_name(path.name[: len(path.name) - len(extension_of(path))] + ".json")


def extension_of(path: Path) -> str:
    """Extension with its dot; ``.nii.gz`` counts as one."""
    for extension in _DOUBLE_EXTENSIONS:
        if path.name.endswith(extension):
            return extension
    return path.suffix


def parse_name(path: Path) -> dict[str, str]:
    """Entities of a BIDS file name (short keys, in order) with ``suffix`` and ``extension``."""
    return dict(_parsed(Path(path).name))


@functools.lru_cache(maxsize=1 << 12)  # a name is asked for several times in a row
def _parsed(name: str) -> tuple[tuple[str, str], ...]:
    extension = extension_of(Path(name))
    *pairs, suffix = name[: len(name) - len(extension)].split("_")
    entities = {}
    for pair in pairs:
        match = _PAIR.match(pair)
        if match:
            entities[match[1]] = match[2]
    return tuple({**entities, "suffix": suffix, "extension": extension}.items())


def atlas_entities(name: Mapping[str, str]) -> dict[str, str]:
    """Those entities of a parsed file name that name its atlas."""
    return {key: name[key] for key in ATLAS if key in name}


def scan_entities(path: Path) -> tuple[tuple[str, str], ...]:
    """Entities of a raw file that outputs keep, in schema order, with the labels as written."""
    name = parse_name(path)
    return tuple((key, name[key]) for key in SCAN_ENTITIES if key in name)


def session_of(scan: str) -> str:
    """Session of a scan by its name, without ``ses-``; empty if it has none."""
    return parse_name(Path(f"{scan}_T1w")).get("ses", "")


def identity(entities: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Identifiers of a scan for its tables, with their BIDS prefixes."""
    labels = dict(entities)
    columns = {"participant_id": "sub", "session_id": "ses", "run_id": "run"}
    return {name: f"{key}-{labels[key]}" for name, key in columns.items() if key in labels}


def report_path(
    output_dir: Path, subject: str, session: str = "", *, level: ReportLevel = "root"
) -> Path:
    """HTML page of a person, or of one of their sessions (labels without prefix).

    `level` (``report_output_level`` of the settings) says in whose folder it lies; a page of no
    session lies at most in the folder of the person.
    """
    own = f"ses-{session}" if session else ""
    person = f"sub-{subject}"
    folder = {"root": Path(), "subject": Path(person), "session": Path(person, own)}[level]
    return Path(output_dir) / folder / f"{person}{'_' if own else ''}{own}.html"


def report_places(output_dir: Path, subject: str, session: str = "") -> list[Path]:
    """Everywhere :func:`report_path` may put a page."""
    levels = get_args(ReportLevel)
    paths = [report_path(output_dir, subject, session, level=level) for level in levels]
    return list(dict.fromkeys(paths))


@dataclass(frozen=True)
class ReportLayout:
    """Which pages a person has, and where they lie.

    Attributes
    ----------
    aggregate : int
        As many sessions share a page; with more every session has its own.
    level : {"root", "subject", "session"}
        See :func:`report_path`. At the last every session has its own page in any case.
    """

    aggregate: int = 4
    level: ReportLevel = "root"

    def pages(
        self, output_dir: Path, subject: str, sessions: Iterable[str]
    ) -> dict[str | None, Path]:
        """Pages of a person by session; None stands for all of them, on one page.

        Labels have no prefix; that of a scan without a session is empty.
        """
        labels = sorted(set(sessions))
        split = len([label for label in labels if label]) > self.aggregate
        shown = labels if labels and (split or self.level == "session") else [None]
        return {
            label: report_path(output_dir, subject, label or "", level=self.level)
            for label in shown
        }


def runs_path(output_dir: Path) -> Path:
    """HTML page of all runs."""
    card = output("runs_page")
    return Path(output_dir) / f"{card.suffix}{card.extension}"


def cohort_path(output_dir: Path) -> Path:
    """HTML page of all scans."""
    card = output("cohort_page")
    return Path(output_dir) / f"{card.suffix}{card.extension}"


def log_dir(output_dir: Path, subject: str, run_uuid: str) -> Path:
    """Folder for the log, configuration and crash files of one run of one participant."""
    return Path(output_dir) / f"sub-{subject}" / "log" / run_uuid


def bids_uri(path: Path, root: Path, dataset: str = "") -> str:
    """BIDS URI of a file, ``bids:raw:sub-01/anat/...``; an empty `dataset` means this dataset."""
    # absolute(), not resolve(): the files of a DataLad dataset are links that lead out of its root.
    relative = Path(path).absolute().relative_to(Path(root).absolute())
    return f"bids:{dataset}:{relative.as_posix()}"


def resolution_label(spacing: float) -> str:
    """``res-`` label of a voxel size in mm: ``1``, ``2``, ``1p5``."""
    return f"{spacing:g}".replace(".", "p")


def image_key(modality: str) -> str:
    """Output of the bias-corrected image of a modality (``T1w``, ``T2w`` ...)."""
    return "t1w_preproc" if modality == "T1w" else f"companion_{modality}"


def standard_key(modality: str) -> str:
    """Output of the image of a modality in the space of a template."""
    return "t1w_std" if modality == "T1w" else f"companion_{modality}"


def input_key(modality: str) -> str:
    """Output of what a network saw of the image of a modality."""
    return "input" if modality == "T1w" else f"input_{modality}"


def input_figure_key(modality: str) -> str:
    """Figure of what a network saw of the image of a modality."""
    return "input_figure" if modality == "T1w" else f"input_{modality}_figure"


@dataclass(frozen=True)
class Destination:
    """Where the outputs of one scan go; no entities for files about no participant.

    `source` is the BIDS URI of the raw image, `modality` what it is.
    """

    output_dir: Path
    entities: tuple[tuple[str, str], ...] = ()
    source: str = ""
    modality: str = "T1w"

    @property
    def image_key(self) -> str:
        """Output of the bias-corrected image."""
        return image_key(self.modality)

    @property
    def input_key(self) -> str:
        """Output of what the network saw of the image."""
        return input_key(self.modality)

    def uri(self, key: str, *, model: str = "", **labels: object) -> str:
        """BIDS URI of one output."""
        path = output_path(self.output_dir, key, self.entities, model=model, **labels)
        return bids_uri(path, self.output_dir)
