"""Maps of every voxel over people: mean and standard error, for all and by age group.

Bintsi et al. 2021 average the importance maps of people; Hofmann et al. 2022 do so with relevance.
A person's map lies on the grid of the network, which fits the template only affinely: it is carried
on by the person's nonlinear registration. Maps come one at a time, so that any number of people
fits into memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import SimpleITK as sitk

from bidsapp_brainage.bids.names import (
    bids_uri,
    output_name,
    output_path,
    parse_name,
    scan_entities,
    sidecar_path,
)
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.cards import Output
from bidsapp_brainage.catalogue.dataset import OVER_PEOPLE
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group.collect import ModelResult
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.imaging.conversion import affine_to_sitk
from bidsapp_brainage.imaging.transforms import points_through, read_affine, read_xfm, sampled
from bidsapp_brainage.io import load_nifti, save_nifti, write_json
from bidsapp_brainage.stats.lifespan import age_group, age_group_names
from bidsapp_brainage.stats.running import RunningMean

MIN_PEOPLE_OF_AGE = 2  # a mean over one person is that person's map
_TRANSFORMS = ("transform", "affine")


@dataclass(frozen=True)
class Population:
    """Maps of one method over people.

    Attributes
    ----------
    grid : Nifti1Image
        On which they lie, in the space of a template.
    groups : mapping of str to RunningMean
        By age group; the empty key is for people of other or unknown age.
    used : tuple of Path
        The maps.
    left_out : tuple of str
        Scans without what leads to the template.
    """

    grid: nib.Nifti1Image
    groups: Mapping[str, RunningMean]
    used: tuple[Path, ...]
    left_out: tuple[str, ...]

    def parts(self) -> Iterator[tuple[str, RunningMean]]:
        """Everybody (the empty name) and, where there are several, groups of at least two."""
        yield "", RunningMean.merged(self.groups.values())
        for name in age_group_names():
            part = self.groups.get(name)
            if part is not None and part.n >= MIN_PEOPLE_OF_AGE and len(self.groups) > 1:
                yield name, part


def write_population_maps(output_dir: Path, model: ModelResult, scans: pd.DataFrame) -> list[Note]:
    """Write mean and standard error of the voxel maps of one model, and remove older ones.

    `scans` has ``participant_id`` and ``chronological_age`` (years). The notes say what is not
    there and why.
    """
    ages = pd.to_numeric(scans["chronological_age"], errors="coerce")
    groups = age_group(ages.groupby(scans["participant_id"]).mean()).dropna()
    written: set[Path] = set()
    notes = []
    for card in lookup.voxel_maps():
        maps = model.maps.get(card.key, {})
        if not maps:
            continue
        try:
            population = average(output_dir, maps, {str(k): str(v) for k, v in groups.items()})
        except DataError as error:
            notes.append(Note("map", f"No mean {card.suffix} of {model.label}: {error}"))
            continue
        written |= _write(output_dir, model.label, card, population)
        if population.left_out:
            notes.append(Note("map", _left_out(card, population)))
    for path in stored_maps(output_dir, model.label):
        if path not in written:
            path.unlink()
            sidecar_path(path).unlink(missing_ok=True)
    return notes


def _left_out(card: Output, population: Population) -> str:
    first, n = population.left_out[0], len(population.left_out)
    return (
        f"The mean {card.suffix} is without {n} scan{'s' if n > 1 else ''} ({first}"
        f"{' and others' if n > 1 else ''}): their transforms to the template (*_xfm) are not "
        "beside their maps; run the participant level again for these people."
    )


def stored_maps(output_dir: Path, label: str) -> list[Path]:
    """Population maps of one model that lie in the folder, sorted."""
    cards = [output_name(card.key, label) for card in lookup.population_maps()]
    names = {(name["suffix"], name["desc"]) for name in cards}
    return [
        path
        for path in sorted(output_dir.glob("tpl-*/**/tpl-*.nii.gz"))
        for name in [parse_name(path)]
        if (name["suffix"], name.get("desc")) in names and "atlas" not in name
    ]


def average(
    output_dir: Path, maps: Mapping[str, Path], age_groups: Mapping[str, str]
) -> Population:
    """Average the maps of people, each the mean over their scans, in the space of the template.

    Parameters
    ----------
    output_dir : Path
        With the transforms of the scans.
    maps : mapping of str to Path
        One map per scan (``sub-01_ses-1``), at least one.
    age_groups : mapping of str to str
        By participant (``sub-01``); participants may be missing.

    Raises
    ------
    DataError
        A map or a transform cannot be read, or no scan has its transforms.
    """
    people: dict[str, list[str]] = defaultdict(list)
    left_out = []
    for scan, path in maps.items():
        if all(file.is_file() for file in _transforms(output_dir, path)):
            people[scan.split("_")[0]].append(scan)
        else:
            left_out.append(scan)
    if not people:
        raise DataError(
            "no scan has its transforms to the template (*_xfm) beside its map; run the "
            "participant level again."
        )
    grid = _grid(output_dir, maps[next(iter(people.values()))[0]])
    groups: dict[str, RunningMean] = {}
    for person, scans in people.items():
        on_template = [_on_template(output_dir, maps[scan], grid) for scan in scans]
        group = age_groups.get(person, "")
        if group not in groups:
            groups[group] = RunningMean(grid.shape)
        groups[group].add(np.mean(on_template, axis=0, dtype=np.float64))
    used = tuple(maps[scan] for scans in people.values() for scan in scans)
    return Population(grid, groups, used, tuple(left_out))


def _transforms(output_dir: Path, path: Path) -> list[Path]:
    """Nonlinear transform and affine of the scan of a map."""
    way = {"from_": "T1w", "to": parse_name(path)["space"], "mode": "image"}
    return [output_path(output_dir, key, scan_entities(path), **way) for key in _TRANSFORMS]


def _grid(output_dir: Path, path: Path) -> nib.Nifti1Image:
    """Grid of the network in the space of the template.

    That of an atlas, which does not depend on the person; else that of the first map.
    """
    name = parse_name(path)
    place = f"tpl-{name['space']}/anat/tpl-{name['space']}_*_res-{name['res']}_dseg.nii.gz"
    image = load_nifti(path)
    for atlas in sorted(output_dir.glob(place)):
        grid = load_nifti(atlas)
        if grid.shape == image.shape:
            return grid
    axes = image.affine[:3, :3]
    if not np.allclose(axes.T @ axes, np.diag(np.diag(axes.T @ axes)), atol=1e-3):
        raise DataError(
            f"the grid of {path.name} has shears, and the folder has no atlas on the network's "
            f"grid ({place}); run the participant level again."
        )
    return image


def _on_template(output_dir: Path, path: Path, grid: nib.Nifti1Image) -> np.ndarray:
    """A map brought to the template: one interpolation."""
    warp, affine = _transforms(output_dir, path)
    to_network = affine_to_sitk(np.linalg.inv(read_affine(affine)))
    chain = sitk.CompositeTransform([to_network, read_xfm(warp)])
    return sampled(load_nifti(path), points_through(grid, chain))


def _write(output_dir: Path, label: str, card: Output, population: Population) -> set[Path]:
    """Write all maps of one method, and return their paths."""
    name = parse_name(population.used[0])
    written = set()
    for group, part in population.parts():
        place = {"tpl": name["space"]} | ({"cohort": group.replace("-", "to")} if group else {})
        values = {"_mean": part.mean, "_se": part.standard_error}
        for ending, words in OVER_PEOPLE.items():
            data = values[ending]
            if data is None:
                continue
            key = card.key + ending
            path = output_path(output_dir, key, place, model=label, res=name["res"])
            save_nifti(_image(data, population.grid), path)
            facts = _facts(card, words, group, part.n) | {"SpatialReference": name["space"]}
            if not group and ending == "_mean":
                facts["Sources"] = [bids_uri(source, output_dir) for source in population.used]
            write_json(sidecar_path(path), facts)
            written.add(path)
    return written


def _facts(card: Output, words: str, group: str, n: int) -> dict[str, object]:
    age = {"AgeGroup": f"{group} years"} if group else {}
    return {
        "Description": f"{words.capitalize()} over participants; scans of one person are averaged "
        f"first. Maps were carried to the template by each scan's nonlinear registration. One "
        f"person's map: {card.description}",
        "Units": card.units,
        "NumberOfParticipants": n,
        **age,
        "Resolution": "Grid of the network",
    }


def _image(data: np.ndarray, grid: nib.Nifti1Image) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data.astype(np.float32), grid.affine)
    image.set_sform(grid.affine, code=int(grid.header["sform_code"]) or 4)
    image.set_qform(grid.affine, code=int(grid.header["qform_code"]) or 4)
    return image
