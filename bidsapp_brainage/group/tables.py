"""Write the group's tables, dictionaries and mean maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import bids_uri, derivative_path, parse_name, sidecar_path
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.group.collect import AtlasResult
from bidsapp_brainage.group.maps import mean_map
from bidsapp_brainage.group.notes import notes_table
from bidsapp_brainage.group.summary import Summary
from bidsapp_brainage.io import save_nifti, write_json, write_tsv

#: Tables that a sample may or may not support.
SAMPLE_KINDS = ("gapmodel", "reliability", "change", "sensitivity", "qc")
ATLAS_KINDS = (
    "occlusionmodel",
    "occlusionreliability",
    "lifespan",
    "lifespanstats",
    "agegroups",
    "asymmetry",
    "stability",
    "agreementstats",
    "literature",
)
_PHENOTYPE = (
    "participant_id",
    "model",
    "chronological_age",
    "predicted_age",
    "predicted_age_sd",
    "ci95_lower",
    "ci95_upper",
    "gap",
    "gap_corrected",
    "ood_flag",
    "qc_flag",
)


@dataclass(frozen=True)
class MeanMap:
    """Mean occlusion map of one atlas: where it lies and of how many participants."""

    path: Path
    n_participants: int


def write_tables(output_dir: Path, summary: Summary) -> list[Path]:
    """Write the long tables, metrics and contribution statistics of one model.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    summary : Summary

    Returns
    -------
    list of Path
        The TSV files; each has its dictionary beside it.
    """
    model = summary.model
    tables = {
        "brainage": _scan_table(summary),
        "metrics": summary.accuracy.table,
        "outliers": summary.outliers,
        "exclusions": summary.exclusions,
        "notes": notes_table(summary.notes),
        **({} if model.qc.empty else {"qc": model.qc}),
        **summary.tables,
    }
    written = _write_all(output_dir, summary, tables, {}, SAMPLE_KINDS)
    for atlas in summary.atlases:
        tables = {"occlusion": atlas.result.table, "occlusionstats": atlas.table, **atlas.tables}
        written += _write_all(output_dir, summary, tables, atlas.result.entities, ATLAS_KINDS)
    return written


def _scan_table(summary: Summary) -> pd.DataFrame:
    """Predictions as the participant level wrote them, with what is known of the people."""
    table = summary.model.brainage
    names = ("sex", "site", "group", "flagged", "gap_kfold")
    return table.assign(**{name: summary.scans[name] for name in names if name in summary.scans})


def _write_all(
    output_dir: Path,
    summary: Summary,
    tables: Mapping[str, pd.DataFrame],
    entities: dict[str, str],
    kinds: Sequence[str],
) -> list[Path]:
    """Write the tables that there are, and remove those of an earlier run that are no more."""
    for kind in (kind for kind in kinds if kind not in tables):
        path = _path(output_dir, summary, kind, entities)
        path.unlink(missing_ok=True)
        sidecar_path(path).unlink(missing_ok=True)
    return [_write(output_dir, summary, kind, table, entities) for kind, table in tables.items()]


def _path(output_dir: Path, summary: Summary, kind: str, entities: dict[str, str]) -> Path:
    return derivative_path(
        output_dir,
        entities,
        suffix=kind,
        extension=".tsv",
        datatype="group",
        desc=summary.model.label,
    )


def _write(
    output_dir: Path,
    summary: Summary,
    kind: str,
    table: pd.DataFrame,
    entities: dict[str, str],
) -> Path:
    path = _path(output_dir, summary, kind, entities)
    write_tsv(path, table)
    write_json(sidecar_path(path), sidecar(kind, list(table.columns), **_provenance(summary)))
    return path


def _provenance(summary: Summary) -> dict[str, Any]:
    shared = summary.model.provenance
    facts = {
        name: shared[name] for name in ("Model", "Software", "BiasCorrection") if name in shared
    }
    sentences = [*summary.model.notes, *summary.accuracy.notes]
    return facts | ({"Notes": sentences} if sentences else {})


def write_phenotype(output_dir: Path, summaries: Sequence[Summary]) -> str | None:
    """Write ``phenotype/brainage.tsv`` if there is one image per participant and one model.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    summaries : sequence of Summary
        One per model.

    Returns
    -------
    str or None
        Why there is no such table; an older one is removed then. BIDS allows one row per
        participant in a phenotype table.
    """
    path = derivative_path(
        output_dir, (), suffix="brainage", extension=".tsv", datatype="phenotype"
    )
    why = _no_phenotype(summaries)
    if why:
        path.unlink(missing_ok=True)
        sidecar_path(path).unlink(missing_ok=True)
        return f"phenotype/brainage.tsv is not written: {why}."
    (summary,) = summaries
    table = summary.model.brainage.reindex(columns=list(_PHENOTYPE))
    write_tsv(path, table)
    content = sidecar("brainage", list(table.columns), **_provenance(summary))
    write_json(sidecar_path(path), content)
    return None


def _no_phenotype(summaries: Sequence[Summary]) -> str:
    if len(summaries) != 1:
        return f"it has one row per participant and here are {len(summaries)} models"
    if summaries[0].model.brainage["participant_id"].duplicated().any():
        return "it has one row per participant and some participants have several images"
    return ""


def write_mean_map(output_dir: Path, summary: Summary, atlas: AtlasResult) -> MeanMap | str:
    """Write the mean occlusion map of one atlas in template space.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    summary : Summary
    atlas : AtlasResult
        One of the summary's.

    Returns
    -------
    MeanMap or str
        The map, or a sentence that says why there is none.
    """
    if not atlas.maps:
        return f"No occlusion maps in template space for atlas {atlas.title}: no mean map."
    try:
        image, n_participants = mean_map(atlas.maps)
    except DataError as error:
        return f"No mean map for atlas {atlas.title}: {error}"
    first = next(iter(atlas.maps.values()))
    res = parse_name(first).get("res")
    path = derivative_path(
        output_dir,
        atlas.entities,
        suffix="occlusionmap",
        extension=".nii.gz",
        tpl=atlas.space,
        res=res,
        desc=f"{summary.model.label}mean",
    )
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
    return MeanMap(path, n_participants)
