"""Model cards: everything that a network needs, as data; see ``docs/models.md``.

A card is a JSON file ``<name>.json`` with its weights beside it. Nothing of it stands in code, so
a new network of a known architecture is a new card.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import platformdirs

from bidsapp_brainage import io
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model import outputs
from bidsapp_brainage.model.bias_correction import BiasCorrection, parse_bias_correction
from bidsapp_brainage.model.card_checks import check_card
from bidsapp_brainage.model.outputs import Head
from bidsapp_brainage.model.specs import (
    Architecture,
    Calibration,
    InputSpec,
    PatchFacts,
    PredictionSpec,
    Reference,
)
from bidsapp_brainage.model.weights.files import WeightFile, weights_present

MODELS_DIR_VARIABLE = "BRAINAGE_MODELS_DIR"


class AgeCard(Protocol):
    """What every card of a model tells, of images or of tables."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def version(self) -> str:
        """Of the model."""

    @property
    def licence(self) -> str:
        """Of the weights."""

    @property
    def weights(self) -> tuple[WeightFile, ...]:
        """Its files."""

    @property
    def input(self) -> Mapping[str, Any]:
        """What the model sees."""

    @property
    def age_range(self) -> tuple[float, float]:
        """Ages (years) that it learned from."""

    @property
    def main_head(self) -> Head:
        """What its number means."""

    @property
    def metrics(self) -> dict[str, Any]:
        """Accuracy by where it was measured."""

    @property
    def bias_correction(self) -> BiasCorrection | None:
        """Line of its predictions over age."""

    @property
    def calibration(self) -> Calibration:
        """How large its errors are."""

    @property
    def training(self) -> dict[str, Any]:
        """The cohort and the recipe."""


@dataclass(frozen=True)
class ModelCard:
    """A checked model card.

    ``input``, ``output``, ``architecture``, ``calibration``, ``training`` and ``metrics`` are
    the card's own objects; ``raw`` is the whole of it; ``folder`` holds card and weights.
    """

    name: str
    version: str
    description: str
    architecture: Architecture
    weights: tuple[WeightFile, ...]
    input: InputSpec
    output: dict[str, Any]
    age_range: tuple[float, float]
    bias_correction: BiasCorrection | None
    calibration: Calibration
    licence: str
    citation: tuple[str, ...]
    folder: Path
    raw: dict[str, Any]

    @property
    def path(self) -> Path:
        """The card's file."""
        return self.folder / f"{self.name}.json"

    @property
    def training(self) -> dict[str, Any]:
        """The cohort and the recipe, as the card tells them."""
        return dict(self.raw.get("training", {}))

    @property
    def metrics(self) -> dict[str, Any]:
        """Cross-validated and external accuracy, as the card tells them."""
        return dict(self.raw.get("metrics", {}))

    @property
    def citation_keys(self) -> tuple[str, ...]:
        """What the methods text cites, by keys of the app's bibliography."""
        return tuple(self.raw.get("citation_keys", ()))

    @property
    def prediction(self) -> PredictionSpec:
        """How to predict: ``{"tta": {"flip": ..., "shift_voxels": ...}}``, or nothing."""
        return self.raw.get("prediction", PredictionSpec())

    @property
    def reference(self) -> Reference | None:
        """What images of the training people are like; None if the card does not tell."""
        return self.raw.get("reference")

    @property
    def patches(self) -> PatchFacts | None:
        """Errors of patches in people not trained on; None if the card does not tell."""
        return self.raw.get("patches")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the network's input along its axes (``input["orientation"]``)."""
        first, second, third = self.input["shape"]
        return int(first), int(second), int(third)

    @property
    def heads(self) -> tuple[Head, ...]:
        """What the network predicts, in the order of its output."""
        return outputs.heads(self.output)

    @property
    def main_head(self) -> Head:
        """The head that is explained: the age, or the first one where there is no age."""
        return outputs.main_head(self.heads)

    @property
    def has_age_distribution(self) -> bool:
        """Whether it gives a distribution over ages."""
        return self.main_head.name == outputs.AGE and self.main_head.coding == "bins"

    @property
    def has_targets(self) -> bool:
        """Whether it predicts anything else than an age."""
        return any(head.name != outputs.AGE for head in self.heads)

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return bool(self.raw.get("non_commercial", False))


def bundled_folder() -> Path:
    """Folder of the cards that come with the package."""
    return Path(str(resources.files("bidsapp_brainage"))) / "data" / "models"


def load_card(path: Path) -> ModelCard:
    """Read and check one model card (not its weights).

    Raises
    ------
    ResourceError
        The file is missing, is no JSON, or breaks the schema; the message names the field.
    """
    path = Path(path)
    try:
        raw = io.parse_json(path)
    except FileNotFoundError as error:
        raise ResourceError(f"Model card {path} does not exist. Check `models_dir`.") from error
    except (OSError, ValueError) as error:
        raise ResourceError(f"Model card {path} cannot be read as JSON: {error}") from error
    check_card(raw, path)
    return _card_from(raw, path.parent)


def find_card(name: str, models_dir: Path | None = None) -> ModelCard:
    """Find a card by its name: in the user's folder, in the package, among the fetched.

    Cards of `models_dir` come before all others. Of several the first whose weights are there
    is taken, because fetching puts a copy of the card beside the weights.

    Raises
    ------
    UsageError
        No card has this name; the message lists the known ones.
    ResourceError
        The card found is not valid.
    """
    if name.endswith(".json"):
        return load_card(Path(name))
    places = list(_places(name, models_dir))
    if not places:
        known = ", ".join(list_cards(models_dir)) or "none"
        raise UsageError(f"Unknown model '{name}' (`model`). Known models: {known}.")
    own = [path for path in places if models_dir and path.is_relative_to(models_dir)]
    cards = [load_card(path) for path in own or places]
    return next((card for card in cards if weights_present(card)), cards[0])


def name_of_card(model: str) -> str:
    """Name of the model that its name or the path of its card means; nothing is read."""
    return Path(model).name.removesuffix(".json")


def list_cards(models_dir: Path | None = None) -> list[str]:
    """Names of all cards that :func:`find_card` would find, sorted."""
    names: set[str] = set()
    for folder in _folders(models_dir):
        names.update(path.stem for path in folder.glob("*.json") if "." not in path.stem)
        names.update(path.stem for path in folder.glob("*/*.json") if path.stem == path.parent.name)
    return sorted(names)


def fetched_folder(models_dir: Path | None = None) -> Path:
    """Where fetched models are kept: `models_dir`, ``$BRAINAGE_MODELS_DIR`` or the user's data."""
    if models_dir is not None:
        return Path(models_dir)
    if folder := os.environ.get(MODELS_DIR_VARIABLE):
        return Path(folder)
    return Path(platformdirs.user_data_dir("bidsapp_brainage")) / "models"


def _card_from(raw: dict[str, Any], folder: Path) -> ModelCard:
    bias = raw.get("bias_correction")
    return ModelCard(
        name=raw["name"],
        version=raw["version"],
        description=raw["description"],
        architecture=raw["architecture"],
        weights=tuple(_weight_from(entry, folder) for entry in raw["weights"]),
        input=raw["input"],
        output=raw["output"],
        age_range=(float(raw["age_range"][0]), float(raw["age_range"][1])),
        bias_correction=parse_bias_correction(bias, raw["name"]) if bias else None,
        calibration=raw.get("calibration", {}),
        licence=raw["licence"],
        citation=tuple(raw["citation"]),
        folder=folder,
        raw=raw,
    )


def _weight_from(entry: dict[str, Any], folder: Path) -> WeightFile:
    others = {key: value for key, value in entry.items() if key not in ("file", "sha256")}
    return WeightFile(folder / entry["file"], entry.get("sha256"), **others)


def _folders(models_dir: Path | None) -> list[Path]:
    own = [Path(models_dir)] if models_dir else []
    return [*own, bundled_folder(), fetched_folder()]


def _places(name: str, models_dir: Path | None) -> Iterator[Path]:
    """Existing files that can be the card of this name, in the order in which they count."""
    for folder in _folders(models_dir):
        for path in (folder / f"{name}.json", folder / name / f"{name}.json"):
            if path.is_file():
                yield path
