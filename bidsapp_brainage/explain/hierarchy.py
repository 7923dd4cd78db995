"""Groups of regions (networks, lobes, hemispheres, compartments), occluded as one.

The effects of single regions do not add up: regions share what the network sees around them. A
group is therefore occluded as one mask, and its table shows the sum over its regions beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.levels import GROUPINGS, bare_name
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import UsageError

from .engine.geometry import Patch, union
from .engine.planning.plan import label_patches

LEVELS = tuple(level.key for level in GROUPINGS)
COLUMNS = tuple(columns_of("groups"))


_COMPARTMENT_WORDS = {
    "fluid": r"ventric|fluid|\bcsf\b|choroid",
    "cerebellum": r"cerebell|vermis",
    "brainstem": r"brain ?stem|midbrain|\bpons\b|medulla",
    "white matter": r"white matter|callosum|fornix|capsule|\bwm\b",
}


@dataclass(frozen=True)
class Group:
    """Regions that are occluded together.

    Attributes
    ----------
    level : str
        One of ``LEVELS``: a column of the atlas table, ``pair`` (homologous regions of both
        hemispheres) or ``compartment`` (see :func:`compartments`).
    name : str
        Its value there.
    indices : tuple of int
        Labels of the regions.
    """

    level: str
    name: str
    indices: tuple[int, ...]


def atlas_groups(atlas_table: pd.DataFrame) -> list[Group]:
    """Groups of an atlas, level by level, each level in the order of the table.

    Parameters
    ----------
    atlas_table : DataFrame
        ``index``, ``name`` and any of ``LEVELS``; see :mod:`bidsapp_brainage.atlas.tables`. A
        missing value puts the region into no group of that level; a level without values has no
        groups.

    Returns
    -------
    list of Group
    """
    table = atlas_table.assign(
        pair=_pairs(atlas_table), compartment=compartments(atlas_table)
    ).reindex(columns=["index", *LEVELS])
    return [
        Group(level, str(name), tuple(int(index) for index in rows["index"]))
        for level in LEVELS
        for name, rows in table.groupby(level, sort=False, dropna=True)
    ]


def compartments(atlas_table: pd.DataFrame) -> pd.Series:
    """Tissue compartment of each region.

    Parameters
    ----------
    atlas_table : DataFrame
        ``name`` and, where the atlas has them, ``lobe`` and ``compartment``.

    Returns
    -------
    Series of str
        The column ``compartment`` where the atlas has it; else what name and lobe tell: fluid,
        white matter, cerebellum, brainstem, and grey matter for everything else.
    """
    regions = atlas_table.reindex(columns=["name", "lobe", "compartment"])
    text = (
        regions["lobe"].astype(object).fillna("").astype(str) + " " + regions["name"].astype(str)
    ).str.lower()
    tissue = pd.Series("grey matter", index=atlas_table.index, dtype=object)
    for name, words in _COMPARTMENT_WORDS.items():
        tissue = tissue.mask((tissue == "grey matter") & text.str.contains(words), name)
    return regions["compartment"].where(regions["compartment"].notna(), tissue)


def _pairs(atlas_table: pd.DataFrame) -> pd.Series:
    """Name without side of regions that have one homologue on the other side."""
    regions = atlas_table.reindex(columns=["name", "hemisphere"])
    bare = regions["name"].astype(str).map(bare_name).where(regions["hemisphere"].isin(["L", "R"]))
    sides = regions["hemisphere"].groupby(bare).agg(lambda letters: sorted(letters) == ["L", "R"])
    return bare.where(bare.map(sides).eq(True))


def group_patches(labels: NDArray[np.integer], groups: Sequence[Group]) -> list[Patch | None]:
    """Voxels of each group, None for groups without voxels.

    Append them to the patches of the regions to occlude both in one run; patches may overlap.

    Parameters
    ----------
    labels : ndarray of int, shape (D, H, W)
        Region label of each voxel.
    groups : sequence of Group
    """
    indices = sorted({index for group in groups for index in group.indices})
    patch_of = dict(zip(indices, label_patches(labels, indices), strict=True))
    return [union([patch_of[index] for index in group.indices]) for group in groups]


def group_table(
    groups: Sequence[Group],
    group_effects: pd.DataFrame,
    region_effects: pd.DataFrame,
    *,
    voxel_ml: float,
) -> pd.DataFrame:
    """Effects of groups, and how far they are from the sum of their regions.

    Parameters
    ----------
    groups : sequence of Group
    group_effects : DataFrame
        Result of :func:`bidsapp_brainage.explain.occlusion.effects`, one row for each group in
        their order; its column ``index`` is not used, and ``delta_age_sd_members`` may be absent.
    region_effects : DataFrame
        The same for single regions; ``index`` holds their labels.
    voxel_ml : float
        Volume of a voxel of the label image, in millilitres.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``. ``n_regions`` counts the regions with voxels; ``sum_of_regions`` is
        the sum of their ``delta_age`` (years), equal to the group's ``delta_age`` where regions
        act independently; NaN for groups without voxels.

    Raises
    ------
    UsageError
        The number of rows is not that of the groups.
    """
    if len(groups) != len(group_effects):
        raise UsageError(f"{len(groups)} groups but the effects of {len(group_effects)}.")
    ages = region_effects.set_index("index")["delta_age"].dropna()
    parts = [ages[ages.index.isin(group.indices)] for group in groups]
    table = group_effects.reset_index(drop=True)
    table["level"] = [group.level for group in groups]
    table["name"] = [group.name for group in groups]
    table["n_regions"] = [len(part) for part in parts]
    table["volume_mm3"] = table["n_voxels"] * voxel_ml * 1000
    table["sum_of_regions"] = [float(part.sum(min_count=1)) for part in parts]
    return table.reindex(columns=list(COLUMNS))
