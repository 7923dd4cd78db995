"""Outputs of the participant level that no method of explanation makes: images, tables, figures."""

from __future__ import annotations

from . import columns as c
from .cards import ATLAS, Column, Output

#: Images that a model may see beside the T1w, or instead of it.
MODALITIES = ("T2w", "FLAIR", "SWI", "UNIT1")

#: Images that a scan may be, the one that is looked for first first.
SCANNED = ("T1w", *MODALITIES)


def _of_modality(name: str) -> tuple[Output, ...]:
    """Images of another modality; `bids`: SWI has no suffix in BIDS."""
    bids = name != "SWI"
    return (
        Output(f"companion_{name}", name, ".nii.gz", f"the {name} of the session, corrected for "
            "intensity non-uniformity, on the grid of the T1w; where it is the scan itself, in its "
            "own space and in the template's; only of models that see it",
            entities=("space", "res", "desc"), required=("desc",), desc="preproc", bids=bids,
            always=False),
        Output(f"input_{name}", name, ".nii.gz", f"exactly what the network saw of the {name}; "
            "only of models that see it", entities=("space", "res", "desc"),
            required=("space", "desc"), desc="{model}input", bids=bids, always=False),
        Output(f"affine_{name}", "xfm", ".txt", f"rigid motion from the T1w to the {name} (4 x 4, "
            "RAS mm); only of models that see it", entities=("from", "to", "mode", "desc"),
            required=("from", "to", "mode", "desc"), desc="rigid", always=False),
    )  # fmt: skip


IMAGES: tuple[Output, ...] = (
    Output("t1w_preproc", "T1w", ".nii.gz", "the image in RAS orientation, corrected for intensity "
        "non-uniformity", entities=("desc",), required=("desc",), desc="preproc", bids=True),
    Output("mask", "mask", ".nii.gz", "brain mask on the same grid", entities=("desc",),
        required=("desc",), desc="brain", bids=True),
    Output("affine", "xfm", ".txt", "affine part of the normalisation alone",
        entities=("from", "to", "mode", "desc"), required=("from", "to", "mode", "desc"),
        desc="affine"),
    Output("transform", "xfm", ".h5", "affine and nonlinear normalisation in one ITK transform, "
        "and its inverse", entities=("from", "to", "mode"), required=("from", "to", "mode")),
    Output("t1w_std", "T1w", ".nii.gz", "the image in the template's space",
        entities=("space", "res", "desc"), required=("space", "desc"), desc="preproc", bids=True),
    Output("mask_std", "mask", ".nii.gz", "brain mask in the template's space",
        entities=("space", "res", "desc"), required=("space", "desc"), desc="brain", bids=True),
    Output("input", "T1w", ".nii.gz", "exactly what the network saw",
        entities=("space", "res", "desc"), required=("space", "desc"), desc="{model}input",
        bids=True),
    Output("input_regions", "dseg", ".nii.gz", "regions in what the network saw; only of "
        "models that ask a segmentation for them", entities=("space", "res", "desc"),
        required=("space", "desc"), desc="{model}input", bids=True),
    Output("input_mask", "mask", ".nii.gz", "brain mask in what the network saw; not of models "
        "that ask a segmentation for regions", entities=("space", "res", "desc"),
        required=("space", "desc"), desc="{model}input", bids=True),
    Output("input_affine", "xfm", ".txt", "affine from the space of what the network saw to the "
        "T1w (4 x 4, RAS mm); only of models that ask a segmentation for regions, the others use "
        "the affine part of the normalisation", entities=("from", "to", "mode", "desc"),
        required=("from", "to", "mode", "desc"), desc="{model}input"),
    Output("dseg", "dseg", ".nii.gz", "regions of the brain, found by the segmentation, in the "
        "subject's own space; not with `--level minimal`", bids=True),
    Output("probseg", "probseg", ".nii.gz", "probability of grey matter (`GM`), white matter "
        "(`WM`) and fluid (`CSF`); not with `--level minimal`", entities=("label",),
        required=("label",), units="1", bids=True),
    Output("labels_t1w", "dseg", ".nii.gz", "the atlas in the subject's own space", space="T1w",
        entities=("space", *ATLAS), required=("space", "atlas"), bids=True),
    Output("map_grid", "occlusionmap", ".nii.gz", "the signed contributions as a map on the "
        "network's grid, in years", entities=("space", *ATLAS, "res", "desc"),
        required=("space", "atlas", "res", "desc"), desc="{model}", units="year"),
    Output("map_t1w", "occlusionmap", ".nii.gz", "the same map in the subject's own space",
        space="T1w", entities=("space", *ATLAS, "desc"), required=("space", "atlas", "desc"),
        desc="{model}", units="year"),
    *(output for name in MODALITIES for output in _of_modality(name)),
)  # fmt: skip

_TISSUES = {"GM": "grey matter", "WM": "white matter", "CSF": "fluid"}
_TISSUE = Column("tissue", "Tissue", "Kind of tissue that the region is of.", levels=_TISSUES)

LABELS: tuple[Column, ...] = (c.INDEX, c.NAME, c.HEMISPHERE, _TISSUE, c.COLOR)

VOLUMES: tuple[Column, ...] = (
    c.INDEX, c.NAME,
    Column("kind", "Kind", "What the row is about.", levels={
        "region": "a region of the segmentation",
        "total": "a sum of regions: everything inside the skull (intracranial; of the fluid around "
        "the brain only what lies within 4 mm of the brain mask), grey and white matter (brain), "
        "a tissue (GM, WM, CSF), or the ventricles",
    }),
    c.HEMISPHERE, _TISSUE,
    Column("volume_ml", "Volume", "Sum over voxels of the probability of the region times the "
        "volume of a voxel, in the person's own space.", units="mL", minimum=0),
    Column("fraction", "Fraction of the intracranial volume", "Volume over that of everything "
        "inside the skull.", minimum=0, maximum=1),
)  # fmt: skip

_FORMS = {
    "0": "not set",
    "1": "the scanner's coordinates",
    "2": "aligned to another image",
    "3": "Talairach's coordinates",
    "4": "coordinates of MNI 152",
    "5": "coordinates of another template",
}
_DECISIONS = {
    "pass": "nothing found",
    "warn": "look at the report before use",
    "fail": "do not use",
}

PREDICTION: tuple[Column, ...] = (
    c.MODEL,
    Column("target", "Target", "What the network predicts and what is explained: age, or, of a "
        "network that predicts no age, the first head of its card. Then all columns about ages "
        "but the chronological one are n/a, and what it predicts is in the predictions table."),
    Column("chronological_age", "Chronological age", "Age of the person at the scan, from the "
        "input dataset.", units="year", minimum=0),
    Column("age_source", "Source of the age", "Table that the chronological age was taken from.",
        levels={"age-file": "table given with --age-file", "sessions.tsv": "sessions table of the "
            "participant", "scans.tsv": "scans table", "participants.tsv": "participants table",
            "n/a": "no age was found"}),
    Column("predicted_age", "Predicted age", "Mean of the predicted distribution over ages.",
        units="year"),
    Column("predicted_age_median", "Median predicted age", "Median of the predicted distribution.",
        units="year"),
    Column("predicted_age_mode", "Most probable age", "Centre of the most probable age bin.",
        units="year"),
    Column("predicted_age_sd", "SD of the predicted age", "Expected size (SD) of the error, as the "
        "model card knows it from people not trained on; n/a where it does not.", units="year",
        minimum=0),
    Column("entropy", "Entropy", "Entropy of the predicted distribution.", units="nat", minimum=0),
    Column("ci95_lower", "Lower end of the 95 % interval", "Age above which the true age lies "
        "with 97.5 % probability, as far as the calibration of the model card holds; n/a where "
        "the card has none.", units="year"),
    Column("ci95_upper", "Upper end of the 95 % interval", "Age below which it lies with 97.5 % "
        "probability; n/a where the model card has no calibration.", units="year"),
    Column("gap", "Brain-age gap", "Predicted age minus chronological age, as predicted.",
        units="year", derivative=True),
    Column("gap_corrected", "Corrected brain-age gap", "Gap after removing the model's regression "
        "to the mean: predicted age minus the age that its card expects it to predict for the "
        "chronological age.", units="year", derivative=True),
    Column("gap_z", "Standardised brain-age gap", "Corrected gap divided by the spread of such "
        "gaps in the people that the model card's correction was fitted on.", derivative=True),
    Column("bias_model", "Bias correction", "Which correction of the regression to the mean was "
        "applied; none if none was."),
    Column("in_age_range", "In age range", "Whether predicted and chronological age (where it is "
        "known) lie in the ages that the model was trained on.",
        levels={"true": "inside", "false": "outside"}),
    Column("training_distance", "Distance from the training people", "How unlike those of the "
        "training people the image is (amounts of tissue, intensities, features of the network, "
        "at the predicted age), over the limit on the model card; above 1 is flagged, n/a where "
        "the card has no reference.", minimum=0),
    Column("member_sd", "SD of the members", "Standard deviation of the ages from the networks "
        "that answer together: members of the ensemble, or parts of a mixture.", units="year",
        minimum=0),
    Column("fast_age", "Age from the raw image", "What the model of --level fast predicts from the "
        "raw image, with a coarse registration of its own and without bias correction and brain "
        "mask: a check of these steps; n/a without --fast-check.", units="year"),
    c.FLAGS,
    c.FLAG_REASONS,
    c.OOD_FLAG,
    Column("qc_flag", "Quality flag", "Decision of the image quality checks (see the qc table).",
        levels=_DECISIONS),
    c.VERDICT,
    c.VERDICT_REASONS,
    Column("n_tta", "Passes", "Number of versions of the image whose predictions were averaged; 1 "
        "means none but the image itself.", minimum=1),
)  # fmt: skip


AGEDIST: tuple[Column, ...] = (
    Column("age_lower", "Lower edge", "Lower edge of the age bin.", units="year"),
    Column("age_upper", "Upper edge", "Upper edge of the age bin.", units="year"),
    Column("age_center", "Centre", "Centre of the age bin.", units="year"),
    Column("probability", "Probability", "Probability that the network gives to this bin.",
        minimum=0, maximum=1),
)  # fmt: skip


TARGETS: tuple[Column, ...] = (
    c.MODEL,
    c.TARGET,
    c.CLASS,
    Column("value", "Value", "The predicted number in its unit (of the age: predicted_age), or "
        "the probability that the network gives to the class."),
    Column("unit", "Unit", "Unit of value and interval; 1 for probabilities and for numbers "
        "whose unit the model card does not tell."),
    Column("member_sd", "SD of the members", "Standard deviation of value over the members of "
        "the ensemble; n/a with a single member.", minimum=0),
    Column("ci95_lower", "Lower end of the 95 % interval", "Of a number, as far as the "
        "calibration of the model card holds; n/a where the card has none, and for classes."),
    Column("ci95_upper", "Upper end of the 95 % interval", "As ci95_lower."),
    Column("predicted", "Predicted class", "Whether the class is the one with the largest "
        "probability; n/a for numbers.", levels={"true": "it is", "false": "it is not"}),
    Column("true_value", "True value", "What participants.tsv says of the target (of the age: "
        "chronological_age); n/a where it says nothing."),
    Column("explained", "Explained", "Whether contributions of regions are about this row.",
        levels={"true": "they are", "false": "they are not"}),
)  # fmt: skip

CHANNELS: tuple[Column, ...] = (
    c.MODALITY,
    Column("present", "Present", "Whether the image is there.",
        levels={"true": "it is", "false": "the session has none"}),
    Column("predicted_age", "Predicted age", "Age from this modality alone; n/a where it is not "
        "there.", units="year"),
    Column("predicted_age_without", "Predicted age without it", "Age from all others that are "
        "there; n/a where there are none.", units="year"),
    Column("delta_age", "Change of the predicted age", "Age without it minus the predicted age, "
        "as for a region that is occluded.", units="year"),
)  # fmt: skip


QC: tuple[Column, ...] = (
    Column("cnr", "Contrast-to-noise ratio", "Difference of the mean intensities of white and grey "
        "matter over the noise."),
    Column("snr", "Signal-to-noise ratio", "Mean intensity of the brain over its noise."),
    Column("efc", "Entropy focus criterion", "Entropy of the intensities; larger with ghosting and "
        "blurring."),
    Column("fber", "Foreground-background energy ratio", "Mean energy inside the brain over that "
        "outside the head."),
    Column("wm2max", "White matter to maximum", "Median intensity of white matter over the 99.95 % "
        "point of the image."),
    Column("inhomogeneity", "Inhomogeneity", "Coefficient of variation of the estimated bias field "
        "inside the brain."),
    Column("brain_volume_ml", "Brain volume", "Volume of the brain mask.", units="mL", minimum=0),
    Column("brain_volume_min_ml", "Smallest brain volume expected", "4 SD below the mean of people "
        "of this age and sex (of all ages from 3 to 90, of both sexes, where it is not known); n/a "
        "below 3 years.", units="mL", minimum=0),
    Column("brain_volume_max_ml", "Largest brain volume expected", "4 SD above this mean.",
        units="mL", minimum=0),
    Column("mask_overlap_dice", "Mask overlap", "Dice overlap of the brain mask brought to the "
        "template with the template's mask.", minimum=0, maximum=1),
    Column("template_correlation", "Template correlation",
        "Correlation of the registered image with the template inside the template's mask.",
        minimum=-1, maximum=1),
    Column("registration_mi", "Registration mutual information",
        "Normalised mutual information of the registered image and the template."),
    Column("fov_clipped_fraction", "Clipped by the field of view", "Fraction of the template's "
        "brain that lies outside the image.", minimum=0, maximum=1),
    Column("input_intensity_p1", "1 % intensity", "1 % point of the intensities of the brain in "
        "the conformed image."),
    Column("p50", "50 % intensity", "Median of these intensities."),
    Column("p99", "99 % intensity", "99 % point of these intensities."),
    Column("dice_mask_segmentation", "Agreement of mask and segmentation", "Dice overlap of the "
        "brain mask with the brain that the segmentation finds in it and up to 4 mm around it, on "
        "the segmentation's grid; n/a without segmentation.", minimum=0, maximum=1),
    Column("tissues_found", "Tissues found", "How many of grey matter, white matter and fluid make "
        "up at least 1 % of what the segmentation finds inside the skull; n/a without "
        "segmentation.", minimum=0, maximum=3),
    Column("mask_edge_mm", "Edge of the given mask", "How far the edge of a brain mask from "
        "--derivatives, used in the place of the app's own, lies outside (+) or inside (-) of that "
        "of the mask that the app would make, on average; n/a if the app made the mask, or no "
        "transform to the template was needed.", units="mm"),
    Column("given_mask_edge_mm", "Edge of the other program's mask", "The same of a mask that is "
        "only compared; n/a without one.", units="mm"),
    Column("given_xfm_mm", "Distance of given transforms", "How far the transforms from "
        "--derivatives lead the brain of the template from where the app's own registration does, "
        "on average; n/a without transforms of another program.", units="mm", minimum=0),
    *(Column(f"given_{key.lower()}_ml", f"Given {name}", f"Volume of {name} by the segmentation of "
        "--derivatives, whose definition may differ from the app's own (see the volumes table); "
        "n/a without one.", units="mL", minimum=0) for key, name in _TISSUES.items()),
    Column("edge_contact", "Edge contact", "Fraction of the faces of the image that the brain mask "
        "touches.", minimum=0, maximum=1),
    Column("n_nan", "Bad voxels", "Number of voxels that were not finite and were set to zero.",
        minimum=0),
    Column("resolution_mm", "Resolution", "Voxel size of the image as acquired along the three "
        "axes, largest first where one number is given.", units="mm"),
    Column("sform_code", "Code of the sform", "Of the header of the image as it came.",
        levels=_FORMS),
    Column("qform_code", "Code of the qform", "Of the same header. It is used where the sform is "
        "not set.", levels=_FORMS),
    Column("n_orientations", "Orientations in the header", "How many of sform and qform can be "
        "used. With none the voxel sizes alone are known, and the first axis is taken to run from "
        "right to left.", minimum=0, maximum=2),
    Column("sform_qform_mm", "Distance of sform and qform", "Largest distance between the places "
        "that sform and qform give to a corner of the image, after the rotation and shift that "
        "bring them closest; n/a unless both can be used. The sform was used.", units="mm",
        minimum=0),
    Column("decision", "Decision", "Result of the quality checks.", levels=_DECISIONS),
    Column("decision_reason", "Reason", "Plain words for the decision; n/a if nothing was found."),
)  # fmt: skip

MORPHOMETRY: tuple[Column, ...] = (
    c.NAME.worded("Measure of FreeSurfer: a structure of aseg.stats, or hemisphere, region and "
        "measure of the cortex."),
    Column("kind", "Kind", "What the model sees of it.", levels={
        "thickness": "mean thickness of the cortex",
        "fraction": "logarithm of the volume over that of the brain without ventricles",
        "size": "logarithm of the volume",
    }),
    c.HEMISPHERE,
    Column("value", "Value", "As measured: mm (thickness) or mm^3; n/a if it is missing."),
    Column("known", "Known", "Whether the measure is there.",
        levels={"true": "it is", "false": "it is missing"}),
    Column("z", "Deviation", "Difference from what is expected in training people of the predicted "
        "age, in their SD."),
    Column("contribution", "Contribution", "Years by which the measure moves the predicted age "
        "away from that of the mean training person; all of them add up to that difference.",
        units="year"),
    Column("residual", "Regional residual", "What the region says less the predicted age, as "
        "coVariance networks define it; n/a for other models.", units="year"),
    Column("residual_z", "Standardised regional residual", "Regional residual less its mean, over "
        "its SD, in the training people."),
)  # fmt: skip

TABLES: tuple[Output, ...] = (
    Output("brainage", "brainage", ".tsv", "predicted age, interval, gap, flags: one row",
        entities=("desc",), required=("desc",), desc="{model}",
        columns=(*c.IDENTITY[:3], *PREDICTION), pooled=True),
    Output("agedist", "agedist", ".tsv", "the distribution: one row per age bin",
        entities=("desc",), required=("desc",), columns=AGEDIST, desc="{model}"),
    Output("predictions", "predictions", ".tsv", "everything that the network predicts: a row for "
        "each number, and one for each class; only of models that predict more than an age",
        entities=("desc",), required=("desc",), columns=(*c.IDENTITY[:3], *TARGETS),
        desc="{model}", pooled=True, always=False),
    Output("modalities", "modalities", ".tsv", "age from every modality, or part of the brain, "
        "alone, and without it; only of models that see several", entities=("desc",),
        required=("desc",), columns=CHANNELS, desc="{model}", always=False),
    Output("qc", "qc", ".tsv", "image quality and the decision taken from it", entities=("desc",),
        required=("desc",), columns=QC, desc="{model}", pooled=True),
    Output("dseg_table", "dseg", ".tsv", "names, tissues and colours of these regions",
        columns=LABELS, bids=True),
    Output("volumes", "volumes", ".tsv", "volumes of these regions, of tissues, of the ventricles "
        "and of everything inside the skull, in mL", columns=VOLUMES),
    Output("morphometry", "morphometry", ".tsv", "what every measure of FreeSurfer adds to the "
        "predicted age; only with `-d freesurfer=PATH` or of `brainage-model predict-table`",
        entities=("desc",), required=("desc",), columns=MORPHOMETRY, desc="{model}", always=False),
)  # fmt: skip


def _figure(
    key: str,
    suffix: str,
    description: str,
    desc: str,
    *entities: str,
    optional: tuple[str, ...],
    always: bool = True,
) -> Output:
    return Output(
        key, suffix, ".svg", description, level="figures", desc=desc,
        entities=(*entities, *optional, "desc"), required=(*entities, "desc"), always=always,
    )  # fmt: skip


def _figures_of(name: str) -> tuple[Output, ...]:
    """Figures of another modality."""
    only = "only of models that see it"
    return (
        _figure(f"companion_{name}_figure", name, f"the {name} on the grid of the T1w, with the "
            f"outline of the brain mask; {only}", "brain", optional=(), always=False),
        _figure(f"input_{name}_figure", name, f"what the network saw of the {name}; {only}",
            "{model}input", optional=(), always=False),
    )  # fmt: skip


FIGURES: tuple[Output, ...] = (
    _figure("mask_figure", "mask", "outline of the brain mask", "brain", optional=()),
    _figure("segmentation_figure", "dseg", "regions of the segmentation", "segmentation",
        optional=()),
    _figure("before_figure", "T1w", "the template's brain", "before", "space", optional=()),
    _figure("after_figure", "T1w", "the image normalised to it", "after", "space", optional=()),
    _figure("input_figure", "T1w", "what the network saw", "{model}input", optional=()),
    _figure("age_figure", "agedist", "the distribution over ages", "{model}", optional=()),
    _figure("map_figure", "occlusionmap", "contributions of regions", "{model}", "space", "atlas",
        optional=("seg", "scale")),
    Output("thumbnails", "thumbnails", ".jpg", "small pictures of the scan for `index.html`: mask, "
        "segmentation, registration, what each network saw", level="figures"),
    *(output for name in MODALITIES for output in _figures_of(name)),
)  # fmt: skip

OUTPUTS: tuple[Output, ...] = (*IMAGES, *TABLES, *FIGURES)
