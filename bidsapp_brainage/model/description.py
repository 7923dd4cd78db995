"""A model in plain words, for the methods section of a paper: all that its card tells."""

from __future__ import annotations

from bidsapp_brainage.model.cards import AgeCard, ModelCard

# What a card's error may come from, the strictest first, and in words.
_MEASURED = {
    "leave_one_scanner_out": "scanners left out",
    "cross_validation": "cross-validation",
    "test": "test set of the authors",
}
_REGISTRATION = {
    "affine": "with the affine transform only",
    "rigid": "with the rotation and shift of the affine transform only",
    "native": "in the participant's own space",
    "quick": "with an affine transform found at 4 mm on the uncorrected image",
    "none": "along the axes of the scanner, about the middle of the head,",
}
_SCALING = {
    "brain_zscore": "to mean 0 and standard deviation 1",
    "brain_robust": "to median 0 and interquartile range 1.349",
    "divide_by_mean": "by division by their mean",
    "divide_by_max": "by division by their maximum",
    "min_max": "to the range from 0 to 1",
    "white_matter": "so that the peak of white matter lies at 1",
    "segmentation": "by the segmentation, so that fluid is 0, grey matter 1 and white matter 2",
    "tissue": "so that fluid is 0, grey matter 1 and white matter 2",
    "head": "so that air is 0 and bright tissue 1",
}


def input_text(card: ModelCard) -> str:
    """What was done to an image before the network saw it, as a clause."""
    spec = card.input
    quick, segmented = spec.get("registration") == "quick", "segmentation" in spec
    refined = ", refined on the tissue of the segmentation," if segmented and not quick else ""
    brain = "the brain-masked T1w image" if spec.get("skull_stripped") else "the T1w image"
    if quick:
        brain = "the brain that the segmentation found in the T1w image"
    transform = _REGISTRATION[spec.get("registration", "affine")]
    shape = " x ".join(str(size) for size in spec["shape"])
    known = _SCALING.get(spec.get("intensity", {}).get("scaling", ""))
    scaling = f"its intensities were scaled {known}" if known else "its intensities were kept"
    return (
        f"{brain} was resampled {transform}{refined} to {shape} voxels of "
        f"{float(spec['resolution_mm']):g} mm, and {scaling}"
    )


def network_text(card: ModelCard) -> str:
    """Kind and number of the networks with citation keys, as a noun."""
    kind = card.architecture.get("text", f"a network of type {card.architecture['id']}")
    cited = f" [{'; '.join(f'@{key}' for key in card.citation_keys)}]" if card.citation_keys else ""
    members = len(card.weights)
    return f"{kind}{cited}" + (f"; mean of an ensemble of {members} networks" * (members > 1))


def targets_text(card: ModelCard) -> str:
    """What the model predicts, as the beginning of a sentence: ``The age was predicted``."""
    named = [
        f"{head.name} ({' or '.join(head.classes)})" if head.classes else head.name
        for head in card.heads
    ]
    *others, last = named
    listed = f"{', '.join(others)} and the {last}" if others else last
    return f"The {listed} {'were' if others else 'was'} predicted"


def training_text(card: ModelCard) -> str:
    """Whom the model was trained on and how well it did on others, as far as the card tells."""
    trained, tested = card.training, card.metrics.get("cross_validation", {})
    people = f"{trained['n_people']} people" if trained.get("n_people") else "people"
    cohort = f" of {trained['cohort']}" if trained.get("cohort") else ""
    scanners = f" ({trained['scanners']})" if trained.get("scanners") else ""
    ages = f"aged {card.age_range[0]:g} to {card.age_range[1]:g} years"
    if trained.get("age_mean") is not None and trained.get("age_sd") is not None:
        ages += f" (mean {trained['age_mean']:.1f}, SD {trained['age_sd']:.1f})"
    text = f"It was trained on {people}{cohort}{scanners} {ages}."
    if tested.get("mae") is not None:
        text += f" In cross-validation its mean absolute error was {tested['mae']:.1f} years"
        text += f" (N = {tested['n']})." if tested.get("n") else "."
    strangers = card.metrics.get("leave_one_scanner_out", {})
    if strangers.get("mae") is not None and strangers.get("n"):
        text += f" On {strangers['n']} people with their scanner left out it was "
        text += f"{strangers['mae']:.1f} years."
    return text


def interval_text(card: AgeCard) -> str:
    """Where the 95 % interval comes from, as a clause; empty where the card gives none."""
    calibration = card.calibration
    fitted = "calibrated by conformal prediction on people whom the networks had not seen"
    words = {
        "ci95_factor": f"{fitted}: wider for unsure predictions and, with the distance from the "
        "training people, for images unlike theirs",
        "ci95_half_width_sd": f"{fitted}: a multiple of the distribution's SD",
        "half_width95": f"{fitted}: equally wide for everybody",
    }
    if card.main_head.coding == "bins":
        words["sd_scale"] = (
            "the quantiles of the distribution stretched about the mean by the ratio of errors "
            "and SDs on people whom the networks had not seen"
        )
    else:
        words["residual_sd"] = "1.96 SD of errors on people whom the networks had not seen"
    return next((text for key, text in words.items() if key in calibration), "")


def accuracy(card: AgeCard) -> tuple[float | None, str | None]:
    """Mean absolute error (years) that a card states, and on whose people; None where unknown.

    The people are those that the entry names (``people``), else those of the training cohort
    whom the networks that predicted them had not seen.
    """
    for source, words in _MEASURED.items():
        measured = card.metrics.get(source, {})
        if (mae := measured.get("mae")) is not None:
            cohort = card.training.get("cohort")
            own = f"{cohort} ({words})" if cohort else words
            return float(mae), str(measured.get("people") or own)
    return None, None
