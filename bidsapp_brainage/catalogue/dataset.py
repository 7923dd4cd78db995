"""Outputs about no single participant that are no tables of the group."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import columns as c
from . import participant
from .cards import ATLAS, Column, Output

#: What the labels of ``desc`` mean.
LABELS: Mapping[str, str] = MappingProxyType({
    "preproc": "Image after conforming to RAS and correction of the bias field",
    "brain": "Mask of the brain",
    "affine": "Affine part of the transform alone",
    "rigid": "Rigid motion between two images of a person",
    "{model}": "Result of the model {model}",
    "{model}input": "Exactly what the model {model} saw",
    "{model}cubes": "Map of the model {model}, made by occluding cubes",
    "{model}mean": "Mean over participants of results of the model {model}",
    "{model}se": "Standard error over participants of such a mean",
    "{model}cubesmean": "Mean over participants of maps by cubes of the model {model}",
    "{model}cubesse": "Standard error over participants of such a mean",
})  # fmt: skip

#: What is written of voxel maps over people: ending of the key and of ``desc``, and its words.
OVER_PEOPLE: Mapping[str, str] = MappingProxyType(
    {"_mean": "mean", "_se": "standard error of the mean"}
)

PARTICIPANTS: tuple[Column, ...] = (
    c.PARTICIPANT_ID,
    Column(
        "age",
        "Age",
        "Chronological age at the scan; copied from the input, n/a if unknown or different "
        "between sessions.",
        units="year",
        minimum=0,
    ),
    Column(
        "sex",
        "Sex",
        "Sex as given in the input.",
        levels={"F": "female", "M": "male", "O": "other"},
    ),
    Column("site", "Site", "Place of acquisition as given in the input."),
)

DESCRIPTIONS: tuple[Column, ...] = (
    Column("desc_id", "Label", "Value of the desc entity, with its prefix."),
    Column("description", "Meaning", "What files with this label hold."),
)

FILES: tuple[Column, ...] = (
    c.PARTICIPANT_ID,
    Column("file", "File", "Name of the image, without its folder."),
    Column("sha256", "SHA-256", "Of the content of the file."),
)

_REGIONS = (
    c.INDEX, c.NAME, c.ABBREVIATION, c.COLOR, *c.REGION[2:], c.GYRUS, c.COMPARTMENT,
    c.N_VOXELS, c.VOLUME_MM3,
)  # fmt: skip
_PHENOTYPE = (
    "participant_id", "model", "chronological_age", "predicted_age", "predicted_age_sd",
    "ci95_lower", "ci95_upper", "gap", "gap_corrected", "flags", "ood_flag", "qc_flag",
    "verdict", "verdict_reasons",
)  # fmt: skip

OUTPUTS: tuple[Output, ...] = (
    Output(
        "descriptions", "descriptions", ".tsv", "what the `desc-` labels mean",
        level="dataset", columns=DESCRIPTIONS, bids=True,
    ),
    Output(
        "participants", "participants", ".tsv",
        "id, age, sex and site of those processed (a copied subset)",
        level="dataset", columns=PARTICIPANTS, bids=True,
    ),
    Output(
        "files", "files", ".tsv",
        "which image has which label; only of images that were given without BIDS",
        level="dataset", columns=FILES, always=False,
    ),
    Output(
        "cohort_page", "index", ".html", "all scans on one page, also those that failed: open it "
        "first", level="dataset",
    ),
    Output(
        "runs_page", "runs", ".html", "all runs: how long, what failed and why, memory, energy",
        level="dataset",
    ),
    Output(
        "atlas", "description", ".json", "source, licence and citation of the atlas",
        level="atlas", entities=("atlas",), required=("atlas",), bids=True,
    ),
    Output(
        "regions", "dseg", ".tsv",
        "its regions: index, name, hemisphere, lobe, network, size",
        level="atlas", entities=ATLAS, required=("atlas",), columns=_REGIONS, bids=True,
    ),
    Output(
        "labels_grid", "dseg", ".nii.gz", "the atlas on the network's grid",
        level="template", entities=(*ATLAS, "res"), required=("atlas",), bids=True,
    ),
    Output(
        "mean_map", "occlusionmap", ".nii.gz", "mean map",
        level="template", entities=(*ATLAS, "res", "desc"), required=("desc",),
        desc="{model}mean", units="year", always=False,
    ),
    Output(
        "phenotype", "brainage", ".tsv",
        "only if there is one image per participant, as BIDS demands", level="phenotype",
        columns=tuple(
            column for column in (c.PARTICIPANT_ID, *participant.PREDICTION)
            if column.name in _PHENOTYPE
        ),
        always=False, bids=True,
    ),
    Output(
        "group_page", "brainage", ".html", "everything on one page",
        level="group", entities=("desc",), required=("desc",), desc="{model}",
    ),
    *(
        Output(
            f"figure_{kind}", "", f".{kind}", "every figure of the group page, for a paper",
            level="group", entities=(*ATLAS, "desc"), required=("desc",), desc="{model}",
        )
        for kind in ("svg", "png")
    ),
)  # fmt: skip
