"""Reasons to doubt a result, each with what it means and what to do about it.

Flags of a prediction, what cannot be known about it, and what the quality checks find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Flag:
    """One reason to doubt a result.

    Attributes
    ----------
    key : str
        Word in the columns ``flags`` and ``ood_flag``; the check of this name is in
        :mod:`bidsapp_brainage.model.plausibility.flags`.
    level : str
        ``warn``: look before use; ``bad``: do not use; empty: a mere remark.
    meaning : str
        For data dictionaries and documentation.
    title, text, remedy : str
        For reports: what was found, what it means, what to do beside what is done with every flag
        of this level (:mod:`bidsapp_brainage.stats.verdicts`).
    of_model : bool
        Found by the model alone, without the true age; such a flag may stand in ``ood_flag``.
    seen : bool
        A person who looks at the image can tell whether anything is wrong.
    """

    key: str
    level: Literal["warn", "bad", ""]
    meaning: str
    title: str
    text: str
    remedy: str
    of_model: bool = False
    seen: bool = False


@dataclass(frozen=True)
class QualityCheck:
    """One reason of the quality checks.

    Attributes
    ----------
    column : str
        Measure of the qc table that is checked; its limits are in
        :mod:`bidsapp_brainage.imaging.expected`.
    decision : str
        Word of the column ``decision`` where it applies.
    reason : str
        Words in the column ``decision_reason``.
    remedy : str
        What to do, for reports.
    """

    column: str
    decision: Literal["warn", "fail"]
    reason: str
    remedy: str


#: Levels of a verdict, from the best to the worst, and what they mean in data dictionaries.
VERDICTS = {
    "usable": "nothing speaks against the predicted age",
    "look closer": "look at the person's page before use; report results with and without the scan",
    "do not use": "leave the scan out, or mend the cause and run the participant level again",
}
NO_FLAG = "none"
_MASK = "Look at the outline of the mask; if it is wrong, give one of your own with --derivatives."
#: In this order they stand in tables and reports.
FLAGS: tuple[Flag, ...] = (
    Flag(
        key="stripped_source",
        level="warn",
        meaning="the image was skull-stripped before, and the model learned from whole heads only",
        title="The image was skull-stripped before, and the model learned from whole heads only",
        text="Such images differ from those in training in ways that the app cannot undo; the age "
        "may be wrong by decades. The model's card has figures for such images.",
        remedy="Run the app on the whole-head images. If there are none, do not use the age or the "
        "gap; at most compare people of this one dataset with each other.",
        of_model=True,
    ),
    Flag(
        key="out_of_range",
        level="bad",
        meaning="predicted age outside the ages that the model was trained on",
        title="The predicted age lies outside the ages that the model was trained on",
        text="The network saw no brain of this age while it learned; the number is a guess.",
        remedy="Do not use this prediction. Take a model whose card covers the age of this person, "
        "and check the figures under Model input for a failed normalisation.",
        of_model=True,
    ),
    Flag(
        key="edge_mass",
        level="warn",
        meaning="more than 20 % of the probability in the first or last age bin",
        title="Much of the age distribution lies at the edge of the model's range",
        text="More than 20 % of the probability is in the first or last age bin, so the true age "
        "may lie outside of what the model can say.",
        remedy="Treat the number as a bound (this old or older, this young or younger) and take a "
        "model with a wider range if one is at hand.",
        of_model=True,
    ),
    Flag(
        key="member_disagreement",
        level="warn",
        meaning="the networks that answer together differ more than the model card allows",
        title="The members of the model disagree about this scan",
        text="The networks that answer together gave ages that differ more than they did for "
        "people whom they had not seen; often the image is unlike the training images.",
        remedy="",
        of_model=True,
    ),
    Flag(
        key="unlike_training",
        level="bad",
        meaning="the image is farther from those of the training people than the model card allows",
        title="The image is unlike those that the model was trained on",
        text="Amounts of tissue, intensities or what the network makes of them do not occur "
        "together in this way in the training people. What a network says about such an image is "
        "not known.",
        remedy="Check that the file shows the head of a person of the model's ages, in the "
        "modality that the model was trained on (T1w for most), and look at the mask and the "
        "model input below. "
        "Do not use the age if one of them is wrong; else report results with and without this "
        "scan.",
        of_model=True,
    ),
    Flag(
        key="missing_regions",
        level="warn",
        meaning="regions that the model sees are not in the table of morphometry",
        title="Regions that the model sees are missing",
        text="The model answers without them, or from what the other regions let expect; its "
        "errors and intervals were measured on people who had them all.",
        remedy="Run the missing steps of FreeSurfer or FastSurfer, or take the parcellation that "
        "the model learned from.",
        of_model=True,
    ),
    Flag(
        key="age_out_of_range",
        level="bad",
        meaning="chronological age outside the ages that the model was trained on",
        title="This person is outside the ages that the model was trained on",
        text="The prediction is pulled towards the training ages.",
        remedy="Do not read the gap as a finding about this person. Take a model whose card covers "
        "the age, and check the age in the input.",
    ),
    Flag(
        key="implausible_gap",
        level="bad",
        meaning="corrected gap beyond 3 SD of the reference people of that age",
        title="The gap is larger than a brain explains",
        text="Of 1000 reference people of this age about three are predicted so far off; a wrong "
        "age, a wrong file, a failed step or a scanner that the model does not know is more "
        "likely.",
        remedy="Check the chronological age and its unit, the mask, the registration and the "
        "model input. Do not use the gap before its cause is found.",
    ),
    Flag(
        key="age_outside_interval",
        level="warn",
        meaning="chronological age outside the 95 % interval",
        title="The chronological age lies outside the 95 % interval",
        text="This happens to one person in twenty whose scanner the model copes with; if it "
        "happens to many of your people the model does not know your scanner.",
        remedy="Look at the other scans of this scanner, best at the page of the group.",
    ),
    Flag(
        key="mask_disagreement",
        level="warn",
        meaning="the brain mask and the segmentation do not cover the same brain",
        title="The brain mask and the segmentation do not cover the same brain",
        text="The mask comes from the template, the segmentation from the image alone; where they "
        "differ one of them is wrong, and with it the input of the network.",
        remedy=_MASK,
        seen=True,
    ),
    Flag(
        key="fast_disagreement",
        level="warn",
        meaning="the raw image and the prepared one give ages that differ more than the model card "
        "allows",
        title="The raw image looks as if it were of another age",
        text="The model of --level fast, which prepares the raw image itself, gave another age, "
        "farther off than for 99 in 100 people whom neither model had seen. One of them is "
        "wrong: a step between image and prediction, or the image itself (orientation, voxel size, "
        "field of view).",
        remedy="Check the orientation and the voxel size in the header, then mask, registration "
        "and model input.",
        seen=True,
    ),
)

#: No flags of the table: what is absent says them.
NO_PREDICTION = Flag(
    key="no_prediction",
    level="bad",
    meaning="there is no predicted age",
    title="No age was predicted",
    text="A step before the prediction failed, or its table cannot be read.",
    remedy="See the errors of the run.",
)
NO_INTERVAL = Flag(
    key="no_interval",
    level="warn",
    meaning="the model has no calibration",
    title="There is no interval",
    text="The card of this model has no calibration, so nobody knows how large its errors are. "
    "The width of the distribution of ages is no error bar.",
    remedy="Fit intervals on people whom the model did not learn from, best controls of your own "
    "scanner: brainage-model calibrate.",
)
NO_AGE = Flag(
    key="no_age",
    level="",
    meaning="the chronological age is not known",
    title="The chronological age is not known, so there is no gap",
    text="The prediction and the contributions of regions do not need it; whether the prediction "
    "is plausible cannot be checked without it.",
    remedy="If the age is known, add an age column to participants.tsv or sessions.tsv, or give a "
    "table with --age-file; of images without BIDS, with --age or --people.",
)

_RESEMBLANCE = (
    "Check that the file is an image of a head, and look at the registration: if the "
    "participant does not sit on the template, the header may hold a wrong orientation."
)

#: In this order their reasons stand in tables.
QUALITY_CHECKS: tuple[QualityCheck, ...] = (
    QualityCheck("template_correlation", "fail", "does not resemble the template", _RESEMBLANCE),
    QualityCheck("mask_overlap_dice", "fail", "brain mask does not overlap the template's", _MASK),
    QualityCheck("dice_mask_segmentation", "fail", "no brain inside the brain mask", _MASK),
    QualityCheck("template_correlation", "warn", "weak resemblance to the template", _RESEMBLANCE),
    QualityCheck("mask_overlap_dice", "warn", "brain mask overlaps the template's poorly", _MASK),
    QualityCheck("dice_mask_segmentation", "warn", "brain mask and segmentation disagree", _MASK),
    QualityCheck(
        "mask_edge_mm",
        "warn",
        "given brain mask is wider or narrower than the app's own",
        "Look at both: one may miss brain or hold skull. The given mask was used, and its edge "
        "moves the age: compare with a run without it, and treat all people alike.",
    ),
    QualityCheck(
        "given_mask_edge_mm",
        "warn",
        "brain mask of another program and the app's own disagree",
        "Look at both: one may miss brain or hold skull. The age comes from the app's own; if that "
        "is the wrong one, do not use the age.",
    ),
    QualityCheck(
        "given_xfm_mm",
        "warn",
        "registration of another program and the app's own disagree",
        "Look at the registration, in this report and in that of the other program: one of them "
        "failed. The age comes from the app's own; regions and images in standard spaces come from "
        "the other.",
    ),
    QualityCheck(
        "tissues_found",
        "warn",
        "grey matter, white matter or fluid not found",
        "Check that the file is an MR image of a head, and look at mask and registration.",
    ),
    QualityCheck(
        "brain_volume_ml",
        "warn",
        "unusual brain volume",
        "Check the voxel size in the header and the outline of the mask.",
    ),
    QualityCheck(
        "fov_clipped_fraction",
        "warn",
        "brain cut by the field of view",
        "Part of the brain is not in the image: use another run of this session if there is one, "
        "and do not interpret regions at the cut.",
    ),
    QualityCheck(
        "resolution_mm",
        "warn",
        "coarse voxels",
        "Use a 3D image of about 1 mm if there is one.",
    ),
    QualityCheck(
        "n_nan",
        "warn",
        "NaN or infinite voxels set to zero",
        "Convert the image from DICOM again.",
    ),
    QualityCheck(
        "sform_qform_mm",
        "warn",
        "sform and qform of the header disagree, the sform was used",
        "Both codes and the distance stand in the table of image quality: see whether left, right "
        "and size of the brain are as they should be, then make the two agree.",
    ),
    QualityCheck(
        "n_orientations",
        "warn",
        "no sform and no qform in the header, left and right were assumed",
        "Nothing tells left from right: convert the image from DICOM again, or do not interpret "
        "single hemispheres.",
    ),
)


def flag(key: str) -> Flag | None:
    """The card of a flag; None for a word that this version does not know."""
    return next((card for card in FLAGS if card.key == key), None)


def meanings(*, of_model: bool = False) -> dict[str, str]:
    """What the words mean, for data dictionaries; with `of_model` only those of ``ood_flag``."""
    found = {card.key: card.meaning for card in FLAGS if card.of_model or not of_model}
    return {NO_FLAG: "nothing found", **found}


def split(text: object) -> tuple[str, ...]:
    """Words of the column ``flags``; none for ``none`` and missing values.

    Parameters
    ----------
    text : object
        A cell of the table.
    """
    if not isinstance(text, str):
        return ()
    words = (word.strip() for word in text.split(","))
    return tuple(word for word in words if word and word not in (NO_FLAG, "n/a"))


def join(keys: tuple[str, ...] | list[str]) -> str:
    """Cell of the column ``flags``."""
    return ",".join(keys) or NO_FLAG


def quality_remedy(reason: str) -> str:
    """What to do about a reason of the quality checks; empty for an unknown one."""
    return next((check.remedy for check in QUALITY_CHECKS if check.reason == reason), "")
