"""People to train or evaluate on: images of theirs, with what a table says about them."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.bids.ages import find_age_column, parse_age, parse_sex
from bidsapp_brainage.bids.names import parse_name
from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.io import load_nifti, read_tsv
from bidsapp_brainage.model.inputs.channels import T1W, channels, modalities, restricted
from bidsapp_brainage.model.outputs import Head
from bidsapp_brainage.model.specs import InputSpec
from bidsapp_brainage.segmentation.prepare import prepared_input

FAMILY_COLUMN = "family_id"
#: In the names of images that were made from others to learn from, never to report on.
SIMULATED = "_rec-simulated"
_SEX_COLUMNS = ("sex", "gender")


@dataclass(frozen=True)
class Cohort:
    """Scans with what is known about their people.

    Attributes
    ----------
    people : tuple of str
        ``participant_id`` of every scan; one person may have several scans.
    paths : tuple of Path
        Images.
    facts : DataFrame
        A row per scan with the columns of the participants table; ``age`` in years (NaN where
        unknown or only bounded), ``sex`` as ``F``, ``M`` or ``O``.
    prepared : bool
        The images are model inputs that the app wrote; otherwise they are resampled and scaled
        as the card says when they are read.
    left_out : tuple of str
        People in the table whose image is missing, or with an image but without any target.
    """

    people: tuple[str, ...]
    paths: tuple[Path, ...]
    facts: pd.DataFrame = field(repr=False)
    prepared: bool = True
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count of scans."""
        return len(self.people)

    def showing(self, modality: str) -> tuple[Cohort, np.ndarray]:
        """Scans that have an image of another modality beside theirs, and their places here."""
        paths = [beside(path, modality) for path in self.paths]
        places = np.flatnonzero([path.is_file() for path in paths])
        if not len(places):
            raise NoInputError(
                f"No {modality} image lies beside the {len(self)} images, as {paths[0].name}."
            )
        shown = Cohort(
            tuple(self.people[place] for place in places),
            tuple(paths[place] for place in places),
            self.facts.iloc[places].reset_index(drop=True),
            self.prepared,
        )
        return shown, places

    @property
    def ages(self) -> np.ndarray:
        """Years, shape (n_scans,); NaN where unknown."""
        return self.values("age")

    @property
    def units(self) -> tuple[str, ...]:
        """What no split may separate: the family of every scan's person, or the person.

        Families that share a member (someone with several rows) are one family.
        """
        if FAMILY_COLUMN not in self.facts:
            return self.people
        return _joined(self.people, self.facts[FAMILY_COLUMN].tolist())

    @property
    def simulated(self) -> np.ndarray:
        """Scans that were made from others (``rec-simulated*``), bool, shape (n_scans,)."""
        return np.array([SIMULATED in path.name for path in self.paths], dtype=bool)

    def values(self, name: str) -> np.ndarray:
        """A column as numbers, shape (n_scans,); NaN where it is missing or no number."""
        if name not in self.facts:
            return np.full(len(self), np.nan)
        return pd.to_numeric(self.facts[name], errors="coerce").to_numpy(dtype=float)

    def texts(self, name: str) -> list[str | None]:
        """A column as words, None where missing; whole numbers lose their ``.0``."""
        if name not in self.facts:
            return [None] * len(self)
        return [_text(value) for value in self.facts[name]]

    def truth(self, head: Head) -> list[str | None] | np.ndarray:
        """What the table says about a head's quantity: words for classes, else numbers."""
        return self.texts(head.name) if head.coding == "classes" else self.values(head.name)


@dataclass(frozen=True)
class Source:
    """Which images of a folder are meant.

    Attributes
    ----------
    label : str
        Name of the model whose inputs the app wrote (``desc-<label>input``).
    desc, suffix : str or None
        Other images instead: ``*[_desc-<desc>]_<suffix>.nii[.gz]``, for example ``T2w``,
        ``FLAIR`` or a map of diffusion.
    modality : str
        Of the inputs that the app wrote; a person may have others beside it.
    """

    label: str
    desc: str | None = None
    suffix: str | None = None
    modality: str = T1W

    @property
    def prepared(self) -> bool:
        """Whether the app made these images for a network (``desc-<model>input``)."""
        return self.suffix is None and (self.desc is None or self.desc.endswith("input"))

    def described(self) -> dict[str, str | None]:
        """What a card must say so that these images are found again."""
        own = f"{self.label}input" if self.prepared else None
        return {"desc": self.desc or own, "suffix": self.suffix}

    @property
    def pattern(self) -> str:
        """File name pattern."""
        if self.prepared:
            return f"*_desc-{self.desc or self.label + 'input'}_{self.modality}.nii*"
        desc = f"*_desc-{self.desc}" if self.desc else "*"
        return f"{desc}_{self.suffix or 'T1w'}.nii*"

    def find(self, folder: Path) -> list[Path]:
        """Images of all people below a folder, sorted."""
        images = Path(folder).glob(f"sub-*/**/{self.pattern}")
        return sorted(path for path in images if path.name.endswith((".nii", ".nii.gz")))


def find_cohort(
    folder: Path, source: Source, table: Path | None = None, targets: Sequence[str] = ("age",)
) -> Cohort:
    """Find people with an image and at least one known target.

    Parameters
    ----------
    folder : Path
        Output of ``bidsapp-brainage ... participant``, or any BIDS folder of images that are
        aligned to the model's template.
    source : Source
    table : Path, optional
        ``participants.tsv``; by default that of the raw dataset the derivatives name, else the
        folder's own.
    targets : sequence of str
        Columns wanted.

    Raises
    ------
    NoInputError
        Nothing was found.
    DataError
        The table lacks a column or names a person twice.
    """
    folder = Path(folder)
    table = Path(table) if table else find_table(folder)
    book = _Book(table, targets)
    images = source.find(folder)
    if not images:
        raise NoInputError(_nothing(folder, source))
    people, rows, paths = [], [], []
    lacking = set(book.people)
    for path in images:
        person = path.relative_to(folder).parts[0]
        row = book.row(person, path.name)
        if any(row.get(name) is not None for name in targets):
            people.append(person)
            rows.append(row)
            paths.append(path)
    lacking |= {path.relative_to(folder).parts[0] for path in images}
    if not paths:
        raise NoInputError(
            f"{len(images)} images under {folder}, but no person with a known "
            f"{' or '.join(targets)} in {table}: check participant_id there."
        )
    left_out = tuple(sorted(lacking - set(people)))
    facts = pd.DataFrame(rows, columns=book.columns)
    return Cohort(tuple(people), tuple(paths), facts, source.prepared, left_out)


def find_table(folder: Path) -> Path:
    """``participants.tsv`` of the raw dataset that derivatives name, else the folder's own.

    Raises
    ------
    NoInputError
        There is none.
    """
    places = [*raw_roots(folder), folder]
    for root in places:
        if (root / "participants.tsv").is_file():
            return root / "participants.tsv"
    raise NoInputError(f"{folder} has no participants.tsv: give it with `participants`.")


def load_volume(path: Path, spec: InputSpec, *, prepared: bool = True) -> np.ndarray:
    """Read one image as the network's input.

    Parameters
    ----------
    path : Path
    spec : dict
        The card's ``input``, of one channel.
    prepared : bool
        The app made it, so only its shape is checked. Otherwise it is resampled to the card's
        grid and scaled; where the card wants brains only, voxels of value 0 are the outside.

    Returns
    -------
    ndarray, float32, shape (D, H, W)

    Raises
    ------
    DataError
        The shape is not the model's.
    """
    image = load_nifti(path)
    if not prepared:
        data = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32))
        if data.ndim != 3:
            raise DataError(f"{path} has {data.ndim} dimensions: give images of three.")
        whole = nib.Nifti1Image(data, image.affine)
        mask = nib.Nifti1Image((data != 0).astype(np.uint8), image.affine)
        image, _ = prepared_input(whole, mask, np.eye(4), spec)
    volume = np.asarray(image.dataobj, dtype=np.float32)
    if volume.shape != tuple(spec["shape"]):
        raise DataError(f"{path} has shape {volume.shape}, the model needs {spec['shape']}.")
    channel, *others = channels(spec)
    if others or not channel.indices:
        return volume
    return restricted(volume, load_regions(path), channel, spec)


def load_modalities(path: Path, spec: InputSpec) -> dict[str, np.ndarray]:
    """Inputs that the app wrote of one person, whole, by modality; those that are there.

    `path` is one of them, the others lie beside it; `spec` is the card's ``input``.
    """
    paths = {modality: beside(path, modality) for modality in modalities(spec)}
    return {
        modality: load_volume(image, {**spec, "channels": [{"modality": modality}]})
        for modality, image in paths.items()
        if image.is_file()
    }


def beside(image: Path, suffix: str) -> Path:
    """An image of the same name with another suffix."""
    return image.with_name(re.sub(r"_[a-zA-Z0-9]+\.nii(\.gz)?$", f"_{suffix}.nii.gz", image.name))


def regions_path(image: Path) -> Path:
    """Where the regions of a model's input lie: beside it, as ``*_dseg.nii.gz``."""
    return beside(image, "dseg")


def load_regions(image: Path) -> np.ndarray | None:
    """Regions of a model's input, int16, shape (D, H, W); None where there are none."""
    path = regions_path(image)
    if path == image or not path.is_file():
        return None
    return np.asarray(load_nifti(path).dataobj).astype(np.int16)


class _Book:
    """The participants table: a row of plain values for every scan."""

    def __init__(self, path: Path, targets: Sequence[str]) -> None:
        frame = read_tsv(path)
        if "participant_id" not in frame.columns:
            raise DataError(f"{path} lacks the column participant_id.")
        self._units = _age_units(path.with_suffix(".json"), frame)
        self._age = find_age_column(frame.columns)
        missing = [n for n in targets if n not in frame.columns and not (n == "age" and self._age)]
        if missing:
            raise DataError(
                f"{path} lacks the column {' and '.join(missing)}; it has "
                f"{', '.join(map(str, frame.columns))}."
            )
        frame["participant_id"] = [_prefixed(str(person)) for person in frame["participant_id"]]
        self._keys = [n for n in ("participant_id", "session_id") if n in frame.columns]
        if frame.duplicated(subset=self._keys).any():
            raise DataError(f"{path} names a participant twice.")
        self._rows = {self._key_of(row): row for row in frame.to_dict("records")}
        self.people = frame["participant_id"].tolist()
        self.columns = list(dict.fromkeys([*map(str, frame.columns), "age"]))

    def row(self, person: str, name: str) -> dict[str, Any]:
        """What is known about a scan; missing values are None."""
        session = re.search(r"_ses-([a-zA-Z0-9]+)", name)
        label = session.group(1) if session else ""
        facts = self._rows.get((person, label)) or self._rows.get((person, "")) or {}
        row = {str(k): None if pd.isna(v) else v for k, v in facts.items()}
        age = parse_age(row.get(self._age), self._units) if self._age else None
        # a lower bound such as 89+ is no age to learn from
        row["age"] = age.value if age and not age.capped else None
        for column in _SEX_COLUMNS:
            if row.get(column) is not None:
                sex = parse_sex(row[column])
                row[column] = None if sex == "n/a" else sex
        return row

    def _key_of(self, row: Mapping[Hashable, Any]) -> tuple[str, str]:
        session = row.get("session_id")
        label = "" if session is None or pd.isna(session) else str(session).removeprefix("ses-")
        return row["participant_id"], label


def _age_units(sidecar: Path, frame: pd.DataFrame) -> str | None:
    column = find_age_column(frame.columns)
    if column is None or not sidecar.is_file():
        return None
    try:
        described = json.loads(sidecar.read_text(encoding="utf-8-sig")).get(column, {})
        return str(described["Units"]) if described.get("Units") else None
    except (ValueError, AttributeError) as error:
        raise DataError(f"{sidecar} cannot be read ({error}): correct it or remove it.") from error


def raw_roots(folder: Path) -> list[Path]:
    """Raw datasets that derivatives point to, and the folder that usually holds them."""
    roots = [folder / "sourcedata" / "raw", folder / "sourcedata"]
    description = folder / "dataset_description.json"
    if description.is_file():
        try:
            links = json.loads(description.read_text(encoding="utf-8")).get("DatasetLinks", {})
        except ValueError:
            links = {}
        local = [str(link) for name, link in links.items() if name in ("raw", "bids")]
        roots += [folder / link for link in local if "://" not in link]
    return roots


def _nothing(folder: Path, source: Source) -> str:
    name = source.pattern
    raw = source.prepared and any(Path(folder).glob("sub-*/**/*_T1w.nii*"))
    if raw and not any(Path(folder).glob("sub-*/**/*_desc-*input_T1w.nii*")):
        return (
            f"{folder} holds T1w images but no {name}: networks learn from what the app makes of "
            "them. Run bidsapp-brainage BIDS_DIR OUT participant `explain` none and give OUT, "
            "or name images that are aligned already with `input_desc` and `input_suffix`."
        )
    made = Path(folder).glob(f"sub-*/**/*_desc-*input_{source.modality}.nii*")
    others = sorted({parse_name(path)["desc"] for path in made})
    if others:
        return (
            f"No {name} under {folder}, but those of other models: {', '.join(others)}. Name the "
            "ones to learn from with `input_desc`, or run the participant level with this model."
        )
    return f"No {name} under {folder}. Run the participant level there first."


def _joined(people: Sequence[str], families: Sequence[str | float | None]) -> tuple[str, ...]:
    """Label of the connected group of people and families that each scan belongs to."""
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            name = group[name]
        return name

    for person, family in zip(people, families, strict=True):
        # None cells become NaN in a table
        if family is not None and not pd.isna(family):
            group[root(f"family {family}")] = root(person)
    return tuple(root(person) for person in people)


def _prefixed(person: str) -> str:
    return person if person.startswith("sub-") else f"sub-{person}"


def _text(value: str | float | None) -> str | None:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
