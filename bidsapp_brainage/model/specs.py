"""The objects inside a model card, as ``card.schema.json`` admits them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Matrix = list[list[float]]
#: How intervals are fitted; a card's ``calibration.method`` is one of them after ``conformal_``.
CALIBRATIONS = ("normalised", "constant", "distance")


class Architecture(TypedDict):
    """Which network it is; the parameters are those of its class, the text is for reports."""

    id: str
    parameters: dict[str, Any]
    n_parameters: NotRequired[int]
    text: NotRequired[str]


class Ellipsoid(TypedDict):
    """Where tissue levels are read: voxels of the network's input."""

    center: list[float]
    radii: list[float]


class Intensity(TypedDict):
    """Scaling of the intensities; see :func:`bidsapp_brainage.model.intensity.scale_intensity`."""

    scaling: str
    ellipsoid: NotRequired[Ellipsoid]
    over: NotRequired[Literal["brain", "volume"]]
    at: NotRequired[Literal["input", "source"]]
    multiply: NotRequired[float]
    round: NotRequired[bool]
    clip: NotRequired[list[float]]


class SourceGrid(TypedDict):
    """Grid on which the authors of a network resampled before they cropped or coarsened."""

    shape: list[int]
    resolution_mm: NotRequired[float]
    affine: NotRequired[Matrix]
    interpolation: NotRequired[Literal["linear", "cubic"]]


class Grid(TypedDict):
    """Voxels that lie in a template's space; the affine leads to its RAS mm."""

    template: str
    resolution_mm: float
    shape: list[int]
    affine: Matrix


class Part(TypedDict):
    """Some regions of the segmentation under a name of letters and digits."""

    name: str
    indices: list[int]


class ChannelSpec(TypedDict):
    """What one branch sees; see :mod:`bidsapp_brainage.model.inputs.channels`."""

    modality: str
    region: NotRequired[str | Part]
    intensity: NotRequired[Intensity]


class InputSpec(Grid):
    """What the network sees."""

    channels: NotRequired[list[ChannelSpec]]
    any_subset: NotRequired[bool]
    registration: Literal["affine", "rigid", "native", "quick", "none"]
    skull_stripped: bool
    stripped_sources: NotRequired[bool]
    orientation: str
    source_grid: NotRequired[SourceGrid]
    crop: NotRequired[Literal["fixed", "brain"]]
    segmentation: NotRequired[str]
    intensity: Intensity
    background: float | Literal["minimum"]


class Views(TypedDict, total=False):
    """Test-time augmentation: a mirror image, and six shifts by so many voxels."""

    flip: bool
    shift_voxels: int


class PredictionSpec(TypedDict, total=False):
    """How to predict."""

    tta: Views


class IntervalScale(TypedDict):
    """Expected size of an error: ``constant`` + ``sd`` x SD of the distribution + ...

    ... ``distance`` x distance from the training people, which counts from ``nearest`` on; none is
    negative.
    """

    constant: float
    sd: float
    distance: float
    nearest: float


class ScannerCoverage(TypedDict):
    """How many people of a scanner lie inside intervals fitted without their scanner."""

    n: int
    coverage95: float
    mean_half_width: float


class Calibration(TypedDict, total=False):
    """How large errors are; see :mod:`bidsapp_brainage.model.uncertainty`.

    ``targets`` tells it of heads that are numbers but no age, by their names.
    """

    method: Literal["conformal_normalised", "conformal_constant", "conformal_distance"]
    ci95_half_width_sd: float
    scale: IntervalScale
    ci95_factor: float
    n: int
    coverage95: float
    coverage_by_scanner: dict[str, ScannerCoverage]
    mean_half_width: float
    sd_scale: float
    member_sd_limit: float
    fast_age_limit: float
    residual_sd: float
    half_width95: float
    source: str
    targets: dict[str, Calibration]


class ReferenceFeature(TypedDict):
    """A feature of the training people: its course with age, and its SD about that."""

    name: str
    by_age: list[float]
    sd: float


class EncoderAxes(TypedDict):
    """Principal axes of the encoder's features, which are first centred and scaled."""

    center: list[float]
    sd: list[float]
    components: Matrix


class Reference(TypedDict):
    """What images of the training people are like; see :mod:`..model.plausibility.reference`."""

    features: list[ReferenceFeature]
    covariance: Matrix
    age_limits: list[float]
    threshold: float
    encoder: NotRequired[EncoderAxes]
    n: NotRequired[int]
    source: NotRequired[str]


#: What stands for the template of models that see images in their own space.
OWN_SPACE = "T1w"


def sees_raw_images(input_spec: InputSpec) -> bool:
    """Whether a model prepares the raw image itself."""
    return input_spec.get("registration") in ("quick", "none")


class PatchFacts(TypedDict):
    """What is known of the patches of a network from people not trained on.

    Flat lists over the places: mean absolute error (years), slope and intercept of the line of
    predicted on true age; None where a place has no age.
    """

    shape: list[int]
    n: int
    mae: list[float | None]
    slope: list[float | None]
    intercept: list[float | None]


def needs_segmentation(input_spec: InputSpec) -> bool:
    """Whether a model sees tissue from a segmentation, or asks which regions it sees."""
    return "segmentation" in input_spec
