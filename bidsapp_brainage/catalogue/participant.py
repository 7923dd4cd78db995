"""Outputs of the participant level that no method of explanation makes: images, tables, figures."""

from __future__ import annotations

from .cards import Output

_ATLAS = ("atlas", "seg", "scale")

IMAGES: tuple[Output, ...] = (
    Output(
        "t1w_preproc", "T1w", ".nii.gz",
        "the image in RAS orientation, corrected for intensity non-uniformity",
        entities=("desc",), required=("desc",), desc="preproc", bids=True,
    ),
    Output(
        "mask", "mask", ".nii.gz", "brain mask on the same grid",
        entities=("desc",), required=("desc",), desc="brain", bids=True,
    ),
    Output(
        "affine", "xfm", ".txt", "affine part of the normalisation alone",
        entities=("from", "to", "mode", "desc"), required=("from", "to", "mode", "desc"),
        desc="affine",
    ),
    Output(
        "transform", "xfm", ".h5",
        "affine and nonlinear normalisation in one ITK transform, and its inverse",
        entities=("from", "to", "mode"), required=("from", "to", "mode"),
    ),
    Output(
        "t1w_std", "T1w", ".nii.gz", "the image in the template's space",
        entities=("space", "res", "desc"), required=("space", "desc"), desc="preproc", bids=True,
    ),
    Output(
        "mask_std", "mask", ".nii.gz", "brain mask in the template's space",
        entities=("space", "res", "desc"), required=("space", "desc"), desc="brain", bids=True,
    ),
    Output(
        "input", "T1w", ".nii.gz", "exactly what the network saw",
        entities=("space", "res", "desc"), required=("space", "desc"), desc="{model}input",
        bids=True,
    ),
    Output(
        "labels_t1w", "dseg", ".nii.gz", "the atlas in the subject's own space",
        entities=("space", *_ATLAS), required=("space", "atlas"), bids=True,
    ),
    Output(
        "map_grid", "occlusionmap", ".nii.gz",
        "the signed contributions as a map on the network's grid, in years",
        entities=("space", *_ATLAS, "res", "desc"), required=("space", "atlas", "res", "desc"),
        desc="{model}", units="year",
    ),
    Output(
        "map_t1w", "occlusionmap", ".nii.gz", "the same map in the subject's own space",
        entities=("space", *_ATLAS, "desc"), required=("space", "atlas", "desc"),
        desc="{model}", units="year",
    ),
)  # fmt: skip

TABLES: tuple[Output, ...] = (
    Output(
        "brainage", "brainage", ".tsv", "predicted age, interval, gap, flags: one row",
        entities=("desc",), required=("desc",), desc="{model}", pooled=True,
    ),
    Output(
        "agedist", "agedist", ".tsv", "the distribution: one row per age bin",
        entities=("desc",), required=("desc",), desc="{model}",
    ),
    Output(
        "qc", "qc", ".tsv", "image quality and the decision taken from it",
        entities=("desc",), required=("desc",), desc="{model}", pooled=True,
    ),
    Output(
        "rating", "qc", ".json", "a rating that somebody saved from the report",
        entities=("desc",), required=("desc",), desc="rating",
    ),
)  # fmt: skip


def _figure(
    key: str, suffix: str, description: str, desc: str, *entities: str, optional: tuple[str, ...]
) -> Output:
    return Output(
        key, suffix, ".svg", description, level="figures", desc=desc,
        entities=(*entities, *optional, "desc"), required=(*entities, "desc"),
    )  # fmt: skip


FIGURES: tuple[Output, ...] = (
    _figure("mask_figure", "mask", "outline of the brain mask", "brain", optional=()),
    _figure("before_figure", "T1w", "the template's brain", "before", "space", optional=()),
    _figure("after_figure", "T1w", "the image normalised to it", "after", "space", optional=()),
    _figure("input_figure", "T1w", "what the network saw", "{model}input", optional=()),
    _figure("age_figure", "agedist", "the distribution over ages", "{model}", optional=()),
    _figure(
        "map_figure", "occlusionmap", "contributions of regions", "{model}", "space", "atlas",
        optional=("seg", "scale"),
    ),
    _figure(
        "cubes_figure", "occlusionmap", "occlusion of cubes", "{model}cubes", "space", optional=()
    ),
)  # fmt: skip

OUTPUTS: tuple[Output, ...] = (*IMAGES, *TABLES, *FIGURES)
