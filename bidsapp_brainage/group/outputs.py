"""Write the group's tables, dictionaries and mean maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import (
    atlas_entities,
    bids_uri,
    output_path,
    parse_name,
    sidecar_path,
)
from bidsapp_brainage.bids.pooled.map_sums import sum_of_means
from bidsapp_brainage.catalogue.lookup import OUTPUTS, columns_of, output
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group.analyses import Summary, Tables
from bidsapp_brainage.group.collect import AtlasResult
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.io import load_nifti, save_nifti, write_json, write_lines, write_tsv

#: The rows of all scans and regions: too many to be held at once.
ALL_REGIONS = "group_occlusion"
_MAPS = "maps"  # sums of maps, beside the pooled table of their regions


def group_path(output_dir: Path, label: str, key: str, entities: Mapping[str, str]) -> Path:
    """Where a table of the group lies: ``group[_atlas-A]_desc-<label>_<suffix>.tsv``."""
    return output_path(output_dir, key, entities, model=label)


def write_tables(output_dir: Path, summary: Summary) -> list[Path]:
    """Write all tables of one model with their dictionaries, and return the paths of the TSV files.

    Those of an earlier run that are no more are removed.
    """
    atlases = zip(summary.model.atlases, summary.atlas_tables, strict=True)
    places: list[tuple[Tables, Mapping[str, str]]] = [
        (summary.tables, {}),
        *((tables, atlas.entities) for atlas, tables in atlases),
    ]
    cards = [card for card in OUTPUTS if card.level == "group" and card.is_table]
    written = []
    for tables, entities in places:
        keys = [card.key for card in cards if ("atlas" in card.entities) == bool(entities)]
        for key in (key for key in keys if key not in (*tables, ALL_REGIONS)):
            path = group_path(output_dir, summary.model.label, key, entities)
            path.unlink(missing_ok=True)
            sidecar_path(path).unlink(missing_ok=True)
        for key, table in tables.items():
            path = group_path(output_dir, summary.model.label, key, entities)
            write_tsv(path, table)
            _describe(path, key, list(table.columns), summary)
            written.append(path)
    for atlas in summary.model.atlases:
        path = group_path(output_dir, summary.model.label, ALL_REGIONS, atlas.entities)
        write_lines(path, atlas.contributions.lines(atlas.left_out))
        _describe(path, ALL_REGIONS, atlas.contributions.columns, summary)
        written.append(path)
    return written


def _describe(path: Path, key: str, columns: Sequence[str], summary: Summary) -> None:
    """Write the dictionary of a table."""
    content = sidecar(output(key).suffix, list(columns), **_provenance(summary))
    write_json(sidecar_path(path), content)


def _provenance(summary: Summary) -> dict[str, object]:
    shared = summary.model.provenance
    facts = {
        name: shared[name] for name in ("Model", "Software", "BiasCorrection") if name in shared
    }
    topics = ("collection", "metrics", "sitecalibration")
    sentences = [note.sentence for note in summary.notes if note.topic in topics]
    return facts | ({"Notes": sentences} if sentences else {})


def write_phenotype(output_dir: Path, summaries: Sequence[Summary]) -> list[Note]:
    """Write ``phenotype/brainage.tsv`` if there is one image per participant and one model.

    BIDS allows one row per participant in a phenotype table: else an older one is removed and the
    note says why.
    """
    path = output_path(output_dir, "phenotype")
    why = _no_phenotype(summaries)
    if why:
        path.unlink(missing_ok=True)
        sidecar_path(path).unlink(missing_ok=True)
        return [Note("phenotype", f"phenotype/brainage.tsv is not written: {why}.")]
    (summary,) = summaries
    table = summary.tables["group_brainage"].reindex(columns=columns_of("phenotype"))
    write_tsv(path, table)
    content = sidecar("brainage", list(table.columns), **_provenance(summary))
    write_json(sidecar_path(path), content)
    return []


def _no_phenotype(summaries: Sequence[Summary]) -> str:
    if len(summaries) != 1:
        return f"it has one row per participant and here are {len(summaries)} models"
    if summaries[0].model.brainage["participant_id"].duplicated().any():
        return "it has one row per participant and some participants have several images"
    return ""


def mean_map_path(output_dir: Path, label: str, entities: Mapping[str, str]) -> Path | None:
    """Mean occlusion map of an atlas in template space, if it was written."""
    wanted = {"desc": f"{label}mean", "suffix": "occlusionmap"}
    for path in sorted(Path(output_dir).glob("tpl-*/anat/tpl-*_occlusionmap.nii.gz")):
        name = parse_name(path)
        if wanted.items() <= name.items() and atlas_entities(name) == dict(entities):
            return path
    return None


def write_mean_map(output_dir: Path, label: str, atlas: AtlasResult) -> list[Note]:
    """Write the mean occlusion map of one atlas in template space.

    Where there is none an older one is removed, and the note says why.
    """
    older = mean_map_path(output_dir, label, atlas.entities)
    if older is not None:
        older.unlink()
        sidecar_path(older).unlink(missing_ok=True)
    if not atlas.maps:
        sentence = f"No occlusion maps in template space for atlas {atlas.title}: no mean map."
        return [Note("map", sentence)]
    try:
        image, n_participants = mean_map(atlas.maps, output_dir, atlas.contributions.folder / _MAPS)
    except DataError as error:
        return [Note("map", f"No mean map for atlas {atlas.title}: {error}")]
    first = next(iter(atlas.maps.values()))
    res = parse_name(first).get("res")
    place = {"tpl": atlas.space, "res": res}
    path = output_path(output_dir, "mean_map", atlas.entities, model=label, **place)
    save_nifti(image, path)
    write_json(
        sidecar_path(path),
        {
            "Description": "Mean over participants of the change of predicted age when a region "
            "is occluded (occluded minus intact); scans of one person are averaged first",
            "Units": "year",
            "NumberOfParticipants": n_participants,
            "SpatialReference": atlas.space,
            "SkullStripped": True,
            **({"Resolution": "Grid of the participants' occlusion maps"} if res else {}),
            "Sources": [bids_uri(source, output_dir) for source in atlas.maps.values()],
        },
    )
    return []


def mean_map(maps: Mapping[str, Path], root: Path, folder: Path) -> tuple[nib.Nifti1Image, int]:
    """Mean over participants of their occlusion maps, each the mean over their scans.

    Maps in template space come by scan name (``sub-01_ses-1``), at least one; they lie below
    `root`, and their sums are kept in the folder. The mean is float32, in years, on their grid, and
    comes with the number of participants. Raises :class:`DataError` if a map cannot be read or the
    maps have different grids.
    """
    reference = load_nifti(next(iter(maps.values())))
    total, n = sum_of_means(root, folder, maps, reference, lambda path: _values(path, reference))
    mean = (total / n).astype(np.float32)
    image = nib.Nifti1Image(mean, reference.affine)
    image.set_sform(reference.affine, code=int(reference.header["sform_code"]) or 4)
    image.set_qform(reference.affine, code=int(reference.header["qform_code"]) or 4)
    return image, n


def _values(path: Path, reference: nib.Nifti1Image) -> np.ndarray:
    image = load_nifti(path)
    if image.shape != reference.shape or not np.allclose(image.affine, reference.affine):
        raise DataError(
            f"{path} has another grid than the other occlusion maps. A model whose card says "
            "'crop: brain' or 'rigid' has a grid for each person, and no mean map; else rerun the "
            "participant level for this scan with the same model and atlas."
        )
    return np.asanyarray(image.dataobj, dtype=np.float32)
