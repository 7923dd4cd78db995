"""Model cards: everything that a network needs, as data.

A card is a JSON file ``<name>.json`` with its weights (safetensors) beside it. It states the
template, the grid, the intensity scaling, the output coding, how accurate the network was on
people that it had not seen, and under which licence it may be used. Nothing of this stands in
code, so a new network of a known architecture is a new card.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp_brainage.errors import ResourceError, UsageError


@dataclass(frozen=True)
class WeightFile:
    """One file of weights: its place, what it must contain, and where to fetch it."""

    path: Path
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class BiasCorrection:
    """A straight line ``predicted = slope * age + intercept`` fitted on people not trained on.

    Attributes
    ----------
    slope : float
        Years of predicted age per year of age; below 1 where the model regresses to the mean.
    intercept : float
        Years.
    source : str
        Whose predictions the line was fitted on.
    residual_sd : float or None
        SD of the predictions about the line (years); None if unknown.
    """

    slope: float
    intercept: float
    source: str
    residual_sd: float | None = None


@dataclass(frozen=True)
class ModelCard:
    """A checked model card.

    ``input``, ``output``, ``architecture``, ``calibration``, ``training`` and ``metrics`` are
    the card's own objects; ``raw`` is the whole of it; ``folder`` holds card and weights.
    """

    name: str
    version: str
    description: str
    architecture: dict[str, Any]
    weights: tuple[WeightFile, ...]
    input: dict[str, Any]
    output: dict[str, Any]
    age_range: tuple[float, float]
    bias_correction: BiasCorrection | None
    calibration: dict[str, Any]
    licence: str
    citation: tuple[str, ...]
    folder: Path
    raw: dict[str, Any]

    @property
    def training(self) -> dict[str, Any]:
        """The cohort and the recipe, as the card tells them."""
        return dict(self.raw.get("training", {}))

    @property
    def metrics(self) -> dict[str, Any]:
        """Cross-validated and external accuracy, as the card tells them."""
        return dict(self.raw.get("metrics", {}))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the network's input along right, anterior, superior."""
        first, second, third = self.input["shape"]
        return int(first), int(second), int(third)

    @property
    def bin_lower(self) -> np.ndarray:
        """Lower edges of the age bins in years, shape (n_bins,)."""
        steps = np.arange(self.output["n_bins"], dtype=np.float64)
        return np.asarray(self.output["lower"] + self.output["width"] * steps)

    @property
    def bin_centers(self) -> np.ndarray:
        """Centres of the age bins in years, shape (n_bins,)."""
        return np.asarray(self.bin_lower + self.output["width"] / 2)

    @property
    def weights_sha256(self) -> str:
        """One checksum for the whole model: the file's own, or that of the members' checksums."""
        if len(self.weights) == 1:
            return self.weights[0].sha256
        return hashlib.sha256("\n".join(w.sha256 for w in self.weights).encode()).hexdigest()


def bundled_folder() -> Path:
    """Folder of the cards that come with the package."""
    return Path(str(resources.files("bidsapp_brainage"))) / "data" / "models"


def load_card(path: Path) -> ModelCard:
    """Read and check one model card (not its weights; see :func:`verify_weights`).

    Raises
    ------
    ResourceError
        The file is missing, is no JSON, or breaks the schema; the message names the field.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResourceError(f"Model card {path} does not exist. Check --models-dir.") from error
    except (OSError, ValueError) as error:
        raise ResourceError(f"Model card {path} cannot be read as JSON: {error}") from error
    check_card(raw, path)
    return _card_from(raw, path.parent)


def check_card(raw: Any, path: Path) -> None:
    """Compare a card with the schema and with itself.

    Raises
    ------
    ResourceError
        Lists every field at fault and what was expected there.
    """
    faults = [*_schema_faults(raw)] or [*_consistency_faults(raw)]
    if faults:
        listing = "\n  ".join(faults)
        raise ResourceError(
            f"Model card {path} is not valid:\n  {listing}\n"
            "Correct these fields; docs/models.md explains each of them."
        )


def find_card(name: str, models_dir: Path | None = None) -> ModelCard:
    """Find a card by its name, in the user's folder first and then in the package.

    Raises
    ------
    UsageError
        No card has this name; the message lists the known ones.
    ResourceError
        The card found is not valid.
    """
    if name.endswith(".json"):
        return load_card(Path(name))
    for folder in _folders(models_dir):
        path = folder / f"{name}.json"
        if path.is_file():
            return load_card(path)
    known = ", ".join(list_cards(models_dir)) or "none"
    raise UsageError(f"Unknown model '{name}' (--model). Known models: {known}.")


def list_cards(models_dir: Path | None = None) -> list[str]:
    """Names of all cards that :func:`find_card` would find, sorted."""
    names: set[str] = set()
    for folder in _folders(models_dir):
        names.update(path.stem for path in folder.glob("*.json") if "." not in path.stem)
    return sorted(names)


def verify_weights(card: ModelCard) -> None:
    """Make sure that every weight file is there and is the one that the card was written for.

    Raises
    ------
    ResourceError
        A file is missing (the message says how to get it) or its checksum differs.
    """
    for weight in card.weights:
        if not weight.path.is_file():
            raise ResourceError(
                f"Weights of model {card.name} are missing: {weight.path}. {_remedy(weight)}"
            )
        found = file_sha256(weight.path)
        if found != weight.sha256:
            raise ResourceError(
                f"Weights {weight.path} are not those of model card {card.name}: sha256 is "
                f"{found}, the card says {weight.sha256}. {_remedy(weight)}"
            )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def resolve_bias(spec: str, card: ModelCard) -> BiasCorrection | None:
    """Turn ``--bias-correction {none,model,file:PATH}`` into a line, or None.

    The file is JSON with ``slope`` and ``intercept`` (years), and optionally ``residual_sd``.

    Raises
    ------
    UsageError
        The word is unknown, or the file cannot be used.
    """
    if spec == "none":
        return None
    if spec == "model":
        return card.bias_correction
    if not spec.startswith("file:"):
        raise UsageError(
            f"--bias-correction '{spec}' is unknown. Use none, model or file:PATH (a JSON file)."
        )
    return read_bias(Path(spec.removeprefix("file:")))


def read_bias(path: Path) -> BiasCorrection:
    """Read a line from JSON with ``slope`` and ``intercept`` (years).

    Raises
    ------
    UsageError
        If the file cannot be used.
    """
    try:
        return _bias_from(json.loads(path.read_text(encoding="utf-8")), default_source=path.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--bias-correction file {path} cannot be used ({type(error).__name__}: {error}). "
            'It must be JSON such as {"slope": 0.8, "intercept": 9.1}.'
        ) from error


def _bias_from(raw: dict[str, Any], default_source: str = "") -> BiasCorrection:
    residual = raw.get("residual_sd")
    bias = BiasCorrection(
        slope=float(raw["slope"]),
        intercept=float(raw["intercept"]),
        source=str(raw.get("source", default_source)),
        residual_sd=None if residual is None else float(residual),
    )
    if not np.isfinite([bias.slope, bias.intercept]).all():
        raise ValueError("slope and intercept must be finite")
    return bias


def _card_from(raw: dict[str, Any], folder: Path) -> ModelCard:
    bias = raw.get("bias_correction")
    return ModelCard(
        name=raw["name"],
        version=raw["version"],
        description=raw["description"],
        architecture=raw["architecture"],
        weights=tuple(
            WeightFile(folder / w["file"], w["sha256"], w.get("url")) for w in raw["weights"]
        ),
        input=raw["input"],
        output=raw["output"],
        age_range=(float(raw["age_range"][0]), float(raw["age_range"][1])),
        bias_correction=_bias_from(bias, raw["name"]) if bias else None,
        calibration=raw.get("calibration", {}),
        licence=raw["licence"],
        citation=tuple(raw["citation"]),
        folder=folder,
        raw=raw,
    )


def _folders(models_dir: Path | None) -> list[Path]:
    return [Path(models_dir), bundled_folder()] if models_dir else [bundled_folder()]


def _remedy(weight: WeightFile) -> str:
    if weight.url:
        return f"Fetch it with: curl -L -o '{weight.path}' '{weight.url}'"
    return "Reinstall bidsapp-brainage, or copy the file that came with the card to this place."


def _schema_faults(raw: Any) -> Iterator[str]:
    import jsonschema  # imported here so that listing names stays fast

    schema = json.loads((bundled_folder() / "card.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for fault in sorted(validator.iter_errors(raw), key=lambda f: list(map(str, f.path))):
        field = ".".join(str(part) for part in fault.path) or "(top level)"
        message = fault.message
        if len(message) > 200:  # the value at fault is quoted, and can be thousands of numbers
            message = f"{message[:80]} ... {message[-100:]}"
        yield f"{field}: {message}"


def _consistency_faults(raw: dict[str, Any]) -> Iterator[str]:
    """Faults that a schema cannot see: fields that contradict each other."""
    low, high = raw["age_range"]
    if not low < high:
        yield f"age_range: the lower end {low} is not below the upper end {high}"
    affine = np.asarray(raw["input"]["affine"], dtype=np.float64)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(steps, raw["input"]["resolution_mm"], atol=1e-3):
        yield f"input.affine: voxel sizes {steps.tolist()} are not input.resolution_mm"
    if not (np.diag(affine)[:3] > 0).all():
        yield "input.affine: the axes are not right, anterior, superior (RAS)"
    bins = raw["architecture"]["parameters"].get("n_bins", raw["output"]["n_bins"])
    if bins != raw["output"]["n_bins"]:
        yield f"output.n_bins: {raw['output']['n_bins']}, but architecture.parameters has {bins}"
