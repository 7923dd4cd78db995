"""Known answers: what a model said of the reference images, and whether it says it again.

A card keeps the answers (``selftest``), the tolerances, and what they were recorded with. A
deviation is explained by what differs between then and now.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import io
from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.card_checks import check_card
from bidsapp_brainage.segmentation.card import find_segmentation
from bidsapp_brainage.segmentation.prepare import segmentation_name

if TYPE_CHECKING:
    from bidsapp_brainage.model.cards import ModelCard

PREPARED = "prepared"
TOLERANCES = {
    "prepared_years": 0.1,
    "years": 1.5,
    "interval_years": 3.0,
    "regions": 3,
    "volume_percent": 5.0,
}
N_REGIONS = 5  # kept on the card; `regions` of them must be among the first N_SEARCHED
N_SEARCHED = 10
# What a prepared input passes through, and what an image passes through before.
_NETWORK = ("torch", "numpy", "device", "machine", "processors", "nilearn", "template")
_IMAGING = ("SimpleITK", "picsl-greedy", "scipy", "nibabel", "nilearn", "template", "processors")
_PACKAGES = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "picsl-greedy", "nilearn")


@dataclass(frozen=True)
class Answer:
    """What the model says of one reference.

    Attributes
    ----------
    age : float
        Predicted age, years; of a model that predicts no age, what it gives instead.
    interval : tuple of float or None
        95 % interval, years; None where the card has no calibration.
    regions : tuple of str
        With the largest absolute contributions, the largest first; empty for a prepared input.
    volumes : dict of str to float
        In ml, by the names of totals in ``*_volumes.tsv``; empty without segmentation.
    """

    age: float
    interval: tuple[float, float] | None = None
    regions: tuple[str, ...] = ()
    volumes: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a card keeps it."""
        facts: dict[str, Any] = {"predicted_age": round(self.age, 3)}
        if self.interval is not None:
            facts["ci95"] = [round(end, 3) for end in self.interval]
        if self.regions:
            facts["regions"] = list(self.regions[:N_REGIONS])
        if self.volumes:
            facts["volumes_ml"] = {name: round(ml, 1) for name, ml in self.volumes.items()}
        return facts


@dataclass(frozen=True)
class Comparison:
    """One quantity of one reference, beside what the card says.

    Attributes
    ----------
    reference : str
        Name of the reference, `PREPARED` or that of an image.
    text : str
        Quantity, value found, value expected and tolerance, for people.
    agrees : bool
        Whether the difference is within the tolerance.
    """

    reference: str
    text: str
    agrees: bool


def compare(expected: Mapping[str, Any], found: Mapping[str, Answer]) -> list[Comparison]:
    """Compare answers with those on a card (its field ``selftest``).

    References that were not asked for (absent in `found`) are left out.
    """
    limits = TOLERANCES | expected.get("tolerances", {})
    answers = expected["answers"]
    return [
        comparison
        for name, answer in found.items()
        if name in answers
        for comparison in _comparisons(name, answers[name], answer, limits)
    ]


def _comparisons(
    name: str, known: Mapping[str, Any], answer: Answer, limits: Mapping[str, float]
) -> Iterator[Comparison]:
    years = limits["prepared_years" if name == PREPARED else "years"]
    age = known["predicted_age"]
    yield Comparison(
        name,
        f"age {answer.age:.2f}, expected {age:.2f} +- {years:g}",
        abs(answer.age - age) <= years,
    )
    ends, stated = answer.interval, known.get("ci95")
    if ends is not None or stated is not None:
        bound = min(limits["interval_years"], years) if name == PREPARED else limits[
            "interval_years"
        ]  # fmt: skip
        near = (
            ends is not None
            and stated is not None
            and all(abs(a - b) <= bound for a, b in zip(ends, stated, strict=True))
        )
        yield Comparison(
            name, f"interval {_span(ends)}, expected {_span(stated)} +- {bound:g}", near
        )
    if regions := known.get("regions"):
        again = sum(region in answer.regions[:N_SEARCHED] for region in regions)
        needed = min(int(limits["regions"]), len(regions))
        yield Comparison(
            name,
            f"{again} of the {len(regions)} top regions among the first {N_SEARCHED}, "
            f"expected at least {needed}",
            again >= needed,
        )
    for part, ml in known.get("volumes_ml", {}).items():
        yield _volume(name, part, ml, answer.volumes.get(part), limits["volume_percent"])


def _volume(name: str, part: str, known: float, found: float | None, percent: float) -> Comparison:
    shown = "no volume" if found is None else f"{found:.0f} ml"
    near = found is not None and abs(found - known) <= percent / 100 * known
    return Comparison(name, f"{part} {shown}, expected {known:.0f} ml +- {percent:g} %", near)


def _span(ends: Sequence[float] | None) -> str:
    return "none" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}"


def environment(card: ModelCard, device: str, processors: int) -> dict[str, str]:
    """What answers may depend on, as text: weights, versions, machine, device, template."""
    weights = "".join(weight.sha256 or file_sha256(weight.path) for weight in card.weights)
    segmentation = find_segmentation(segmentation_name(card.input))
    return {
        "weights": hashlib.sha256(weights.encode()).hexdigest()[:16],
        "segmentation": str(segmentation.weights[0].sha256)[:16],
        **{name: _version(name) for name in _PACKAGES},
        "device": device.partition(":")[0],
        "machine": platform.machine(),
        "processors": str(processors),
        "template": _template_digest(),
    }


def record(card: ModelCard, answers: Mapping[str, Answer], present: Mapping[str, str]) -> Path:
    """Write answers, tolerances and `present` (from `environment`) into a card; return its path.

    Tolerances that the card has stay.

    Raises
    ------
    ResourceError
        The card cannot be written.
    """
    kept = card.raw.get("selftest", {}).get("tolerances", {})
    facts = {
        "answers": {name: answer.as_json() for name, answer in answers.items()},
        "tolerances": TOLERANCES | kept,
        "recorded_with": dict(present),
    }
    raw = {**card.raw, "selftest": facts}
    check_card(raw, card.path)
    try:
        io.write_json(card.path, raw)
    except OSError as error:
        raise ResourceError(
            f"Model card {card.path} cannot be written: {error}. Copy card and weights to a "
            "folder of your own and give it as `models_dir`."
        ) from error
    return card.path


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _template_digest() -> str:
    """First 16 hex digits of the SHA-256 of the template's voxels, as nilearn gives them."""
    import numpy as np
    from nilearn import datasets

    voxels = np.asarray(datasets.load_mni152_template(resolution=1).dataobj, dtype=np.float32)
    return hashlib.sha256(np.round(voxels, 4).tobytes()).hexdigest()[:16]


def likely_causes(
    recorded: Mapping[str, str], present: Mapping[str, str], deviating: Sequence[str]
) -> list[str]:
    """What may have made the references in `deviating` come out otherwise, the likeliest first.

    If the prepared input deviates the network or what runs it is to blame; if only whole images
    do, what prepares them.
    """
    for part in ("weights", "segmentation"):
        if part in recorded and recorded[part] != present.get(part):
            return [
                f"the {part} of this installation and those of the record differ: verify them "
                "(brainage-model verify), and record anew after a change of the model"
            ]
    network = PREPARED in deviating
    first, others = (_NETWORK, _IMAGING) if network else (_IMAGING, _NETWORK)
    differing = [
        f"{key} {present.get(key, 'absent')} here, {recorded[key]} when recorded"
        for key in dict.fromkeys((*first, *others))
        if key in recorded and recorded[key] != present.get(key)
    ]
    where = (
        "the network itself answers otherwise: its weights or what runs it"
        if network
        else "the network answers as it should: look at registration, mask and threads"
    )
    nothing = (
        "nothing that was recorded differs here: hash the weights (brainage-model verify), install "
        "the app again, and report this"
    )
    return [where, *(differing or [nothing])]
