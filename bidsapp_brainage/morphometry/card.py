"""Cards of models of morphometry: ``data/morphometry/<name>.json`` with its weights beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import io
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model import outputs
from bidsapp_brainage.model.bias_correction import BiasCorrection, parse_bias_correction
from bidsapp_brainage.model.card_checks import schema_faults
from bidsapp_brainage.model.specs import Calibration
from bidsapp_brainage.model.weights.files import WeightFile, verify_weights

from .features import KINDS, Feature, Kind

if TYPE_CHECKING:
    from torch import Tensor

_SCHEMA = "morphometry/card.schema.json"
_REMEDY = "Reinstall bidsapp-brainage, or copy card and weights again from where they were trained."


@dataclass(frozen=True)
class MorphometryCard:
    """A checked card.

    ``architecture``, ``input``, ``calibration`` and ``raw`` are the card's own objects;
    ``features`` stand in the order of the weights; ``folder`` holds card and weights.
    """

    name: str
    version: str
    description: str
    architecture: Mapping[str, Any]
    input: Mapping[str, Any]
    features: tuple[Feature, ...]
    weights: tuple[WeightFile, ...]
    age_range: tuple[float, float]
    bias_correction: BiasCorrection | None
    calibration: Calibration
    licence: str
    folder: Path
    raw: dict[str, Any]

    @property
    def size(self) -> str:
        """Volume that fractions are of."""
        return str(self.input["size"])

    @property
    def training(self) -> dict[str, Any]:
        """The people that it learned from."""
        return dict(self.raw["training"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Accuracy on people left out."""
        return dict(self.raw.get("metrics", {}))

    @property
    def main_head(self) -> outputs.Head:
        """Its number is an age in years."""
        return outputs.heads({"coding": "scalar", "unit": "year"})[0]

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use: cards with such data are not made."""
        return False


def bundled_folder() -> Path:
    """Folder of the cards that come with the package."""
    return Path(str(resources.files("bidsapp_brainage"))) / "data" / "morphometry"


def list_cards() -> list[str]:
    """Names of the cards that come with the package."""
    return sorted(path.stem for path in bundled_folder().glob("*.json") if "." not in path.stem)


def find_card(name: str) -> MorphometryCard:
    """Find a card by its name, or by its path if that ends in ``.json``; weights are verified.

    Raises
    ------
    UsageError
        No card has this name; the message lists the known ones.
    ResourceError
        Card or weights are broken or missing.
    """
    path = Path(name) if name.endswith(".json") else bundled_folder() / f"{name}.json"
    if not path.is_file():
        known = ", ".join(list_cards())
        raise UsageError(
            f"Unknown model of morphometry '{name}' (`model`). Known: {known}; or give the path of "
            "a card (.json)."
        )
    card = load_card(path)
    verify_weights(card)
    return card


def load_card(path: Path) -> MorphometryCard:
    """Read and check one card (not its weights).

    Raises
    ------
    ResourceError
        The file is no JSON, or breaks the schema; the message names the field.
    """
    try:
        raw = io.parse_json(path)
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"Morphometry card {path} cannot be read: {error}. {_REMEDY}"
        ) from error
    if faults := list(schema_faults(raw, _SCHEMA)):
        listing = "\n  ".join(faults)
        raise ResourceError(f"Morphometry card {path} is not valid:\n  {listing}\n{_REMEDY}")
    bias = raw.get("bias_correction")
    files = raw["weights"]
    return MorphometryCard(
        name=raw["name"],
        version=raw["version"],
        description=raw["description"],
        architecture=raw["architecture"],
        input=raw["input"],
        features=tuple(features_of(raw["input"]["features"])),
        weights=tuple(
            WeightFile(path.parent / one["file"], one["sha256"], size=one["size"]) for one in files
        ),
        age_range=(float(raw["age_range"][0]), float(raw["age_range"][1])),
        bias_correction=parse_bias_correction(bias, raw["name"]) if bias else None,
        calibration=raw.get("calibration", {}),
        licence=raw["licence"],
        folder=path.parent,
        raw=raw,
    )


def features_of(names: Mapping[Kind, Iterable[str]]) -> list[Feature]:
    """Features of names by kind, in the order of the weights."""
    return [Feature(name, kind) for kind in KINDS for name in names[kind]]


def load_tensors(card: MorphometryCard) -> dict[str, Tensor]:
    """Weights of a card whose file was verified.

    Raises
    ------
    ResourceError
        The file is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = card.weights[0].path
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ResourceError(f"Weights {path} cannot be read: {error}. {_REMEDY}") from error
