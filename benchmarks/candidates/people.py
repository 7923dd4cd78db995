"""Tables of regional volumes with ages: from the app's derivatives, FreeSurfer or CAT12."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.segmentation.labels import muse_labels

FIRST_PARCEL = 100  # MUSE: parcels of the cortex have this index or a higher one
CORTEX = "Cortex"
_SIDE = re.compile(r"_[LR]$|^(?:Left|Right)-|^[lr]h_")
_CAT12_SIDE = re.compile(r"^[lr](?=[A-Z0-9])")
_HEADER = ("participant_id", "cohort", "age")


@dataclass(frozen=True)
class People:
    """People of one or more scanners with the volumes of their regions.

    Attributes
    ----------
    table : DataFrame
        ``participant_id cohort age``, one row a person; ``cohort`` names the scanner.
    volumes : DataFrame
        Same rows, one column a region: parts of the head (or thicknesses), free of its size.
    sides : dict of str
        For every region its name without the side.
    parcels : frozenset of str
        Regions that are parcels of the cortex.
    """

    table: pd.DataFrame
    volumes: pd.DataFrame
    sides: dict[str, str]
    parcels: frozenset[str]

    @property
    def ages(self) -> NDArray[np.float64]:
        """Chronological ages in years, shape (n_people,)."""
        return self.table["age"].to_numpy(dtype=np.float64)

    @property
    def cohorts(self) -> NDArray[np.str_]:
        """Scanner of every person, shape (n_people,)."""
        return self.table["cohort"].to_numpy(dtype=str)

    def both_sides(self, *, one_cortex: bool) -> pd.DataFrame:
        """Volumes with both sides added, and the parcels of the cortex too where that is wanted."""
        groups = dict(self.sides)
        if one_cortex:
            groups |= dict.fromkeys(self.parcels, CORTEX)
        return self.volumes.T.groupby(groups, sort=False).sum().T


def read_derivatives(cohort: str, folder: Path, participants: Path) -> People:
    """Read ``*_volumes.tsv`` of the app's derivatives; scans of one person are averaged.

    Sums of regions, which have no index, and people in whom no brain was found are left out.

    Raises
    ------
    DataError
        No such table, or none of a person with an age.
    """
    paths = sorted(folder.rglob("*_volumes.tsv"))
    if not paths:
        raise DataError(f"{folder} has no *_volumes.tsv: run the app on it with a segmentation.")
    scans, parcels = [], set[str]()
    for path in paths:
        table = read_tsv(path)
        table = table[table["index"].notna()]
        person = path.name.split("_")[0]
        scans.append(pd.Series(table["fraction"].to_numpy(), table["name"], name=person))
        parcels |= set(table["name"][table["index"] >= FIRST_PARCEL])
    volumes = pd.concat(scans, axis=1).T.dropna(how="all").fillna(0.0)
    volumes = volumes.groupby(level=0, sort=True).mean()
    known = read_tsv(participants).set_index("participant_id")["age"].dropna()
    volumes = volumes[volumes.index.isin(known.index)]
    if volumes.empty:
        raise DataError(f"{participants} has no age of anybody in {folder}.")
    header = pd.DataFrame({"participant_id": volumes.index, "cohort": cohort})
    header["age"] = known.loc[volumes.index].to_numpy(dtype=float)
    return People(header, volumes.reset_index(drop=True), _sides(volumes), frozenset(parcels))


def read_wide(path: Path) -> People:
    """Read a table with ``participant_id cohort age`` and a column per MUSE region.

    Raises
    ------
    DataError
        One of the three columns is missing.
    """
    table = read_tsv(path)
    if not set(_HEADER) <= set(table.columns):
        raise DataError(f"{path} needs the columns {', '.join(_HEADER)}.")
    regions = [name for name in table.columns if name not in _HEADER]
    known = muse_labels().table.set_index("name")["index"]
    parcels = frozenset(name for name in regions if known.get(name, 0) >= FIRST_PARCEL)
    return People(table[list(_HEADER)], table[regions], _sides(table[regions]), parcels)


def join(parts: list[People]) -> People:
    """People of several scanners; a region that somebody lacks has the volume 0 there."""
    volumes = pd.concat([part.volumes for part in parts], ignore_index=True).fillna(0.0)
    return People(
        pd.concat([part.table for part in parts], ignore_index=True),
        volumes,
        {name: side for part in parts for name, side in part.sides.items()},
        frozenset[str]().union(*(part.parcels for part in parts)),
    )


def read_freesurfer(path: Path, first_age: float = 0.0) -> People:
    """Read a table of FreeSurfer morphometry whose column ``dataset`` stands for the scanner.

    Volumes of aseg and of the cortex's parcels are divided by ``BrainSegVol``; thicknesses stay.
    """
    table = pd.read_csv(path, sep="\t", na_values="n/a", low_memory=False)
    table = table[table["age"] >= first_age].reset_index(drop=True)
    first, last = (table.columns.get_loc(c) for c in ("Left-Lateral-Ventricle", "CC_Anterior"))
    aseg = list(table.columns[first : last + 1])
    parcels = [c for c in table if re.fullmatch(r"[lr]h_.+_volume", c)]
    thick = [c for c in table if re.fullmatch(r"[lr]h_.+_thickness", c)]
    volumes = table[aseg + parcels].div(table["BrainSegVol"], axis=0).join(table[thick])
    return _people(table.rename(columns={"dataset": "cohort"}), volumes, _SIDE, parcels)


def read_cat12(path: Path) -> People:
    """Read CAT12's regional volumes, as parts of the intracranial one; scanner: ``site``."""
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    regions = [c for c in table if c.endswith(("_GM_Vol", "_CSF_Vol"))]
    volumes = table[regions].div(table["tiv"], axis=0)
    return _people(table.rename(columns={"site": "cohort"}), volumes, _CAT12_SIDE)


def _people(
    table: pd.DataFrame, volumes: pd.DataFrame, side: re.Pattern[str], parcels: Sequence[str] = ()
) -> People:
    """Leave out regions that somebody lacks or that hardly vary."""
    good = [
        c for c in volumes if volumes[c].notna().all() and volumes[c].nunique() > len(table) / 4
    ]
    header, volumes = table[list(_HEADER)].copy(), volumes[good]
    return People(header, volumes, _sides(volumes, side), frozenset(parcels) & frozenset(good))


def _sides(volumes: pd.DataFrame, side: re.Pattern[str] = _SIDE) -> dict[str, str]:
    return {str(name): side.sub("", str(name)) for name in volumes}
