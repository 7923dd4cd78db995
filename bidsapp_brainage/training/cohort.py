"""People to train or evaluate on: model inputs written by the app, with ages from a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.io import load_nifti, read_tsv


@dataclass(frozen=True)
class Cohort:
    """Scans with known ages.

    Attributes
    ----------
    people : tuple of str
        ``participant_id`` of every scan; one person may have several scans.
    ages : ndarray, shape (n_scans,)
        Years.
    paths : tuple of Path
        Model inputs.
    left_out : tuple of str
        People in the table whose input is missing, or with an input but without an age.
    """

    people: tuple[str, ...]
    ages: np.ndarray
    paths: tuple[Path, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count of scans."""
        return len(self.people)


def find_cohort(folder: Path, table: Path, label: str) -> Cohort:
    """Find ``sub-*/**/anat/*_desc-<label>input_T1w.nii.gz`` in a derivatives folder.

    Parameters
    ----------
    folder : Path
        Output of ``bidsapp-brainage ... participant``.
    table : Path
        ``participants.tsv`` with ``participant_id`` and ``age`` in years.
    label : str
        Name of the model card whose inputs are wanted.

    Raises
    ------
    NoInputError
        Nothing was found.
    DataError
        The table lacks a column or names a person twice.
    """
    ages = _ages(table)
    people, values, paths = [], [], []
    lacking = set(ages)
    for path in sorted(Path(folder).glob(f"sub-*/**/anat/*_desc-{label}input_T1w.nii.gz")):
        person = path.relative_to(folder).parts[0]
        lacking.discard(person)
        if np.isfinite(ages.get(person, np.nan)):
            people.append(person)
            values.append(ages[person])
            paths.append(path)
        else:
            lacking.add(person)
    if not paths:
        raise NoInputError(
            f"No *_desc-{label}input_T1w.nii.gz of a person with an age in {table} under "
            f"{folder}. Run the participant level there first."
        )
    return Cohort(tuple(people), np.array(values), tuple(paths), tuple(sorted(lacking)))


def load_volume(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read one model input as float32 and check its shape.

    Raises
    ------
    DataError
        The shape is not the model's.
    """
    volume = np.asarray(load_nifti(path).dataobj, dtype=np.float32)
    if volume.shape != shape:
        raise DataError(f"{path} has shape {volume.shape}, the model needs {shape}.")
    return volume


def _ages(table: Path) -> dict[str, float]:
    frame = read_tsv(Path(table))
    missing = {"participant_id", "age"} - set(frame.columns)
    if missing:
        raise DataError(f"{table} lacks the column {' and '.join(sorted(missing))}.")
    people = [_prefixed(str(person)) for person in frame["participant_id"]]
    if len(set(people)) < len(people):
        raise DataError(f"{table} names a participant twice.")
    return {person: _number(age) for person, age in zip(people, frame["age"], strict=True)}


def _prefixed(person: str) -> str:
    return person if person.startswith("sub-") else f"sub-{person}"


def _number(value: object) -> float:
    """A number of years; a cap such as ``89+`` is no age to learn from."""
    text = str(value).strip()
    return float(text) if re.fullmatch(r"\d+(\.\d*)?", text) else float("nan")
