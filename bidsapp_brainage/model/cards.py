"""Model cards: everything that a network needs, as data.

A card is a JSON file ``<name>.json`` with its weights beside it. It states the
template, the grid, the intensity scaling, the output coding, how accurate the network was on
people that it had not seen, and under which licence it may be used. Nothing of this stands in
code, so a new network of a known architecture is a new card.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model import outputs
from bidsapp_brainage.model.outputs import Head

MODELS_DIR_VARIABLE = "BRAINAGE_MODELS_DIR"


@dataclass(frozen=True)
class WeightFile:
    """One file of weights: its place, what it must contain, and where to fetch it.

    Attributes
    ----------
    path : Path
    sha256 : str or None
        Of the file's bytes.
    url : str or None
        Where to fetch it.
    git_blob_id : str or None
        As Git names it: SHA-1 of ``blob <size>``, a zero byte and the file's bytes. A file has
        this or `sha256` or both.
    size : int or None
        Bytes.
    format : {"safetensors", "torch", "keras_h5", "onnx"}
    state_key : str or None
        Under which key a PyTorch file holds the state dict; None: the file is the state dict.
    key_prefix : str
        Removed from the names of tensors.
    """

    path: Path
    sha256: str | None
    url: str | None = None
    git_blob_id: str | None = None
    size: int | None = None
    format: str = "safetensors"
    state_key: str | None = None
    key_prefix: str = ""


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
        """Voxels of the network's input along its axes (``input["orientation"]``)."""
        first, second, third = self.input["shape"]
        return int(first), int(second), int(third)

    @property
    def heads(self) -> tuple[Head, ...]:
        """What the network predicts, in the order of its output."""
        return outputs.heads(self.output)

    @property
    def age_head(self) -> Head:
        """The head that the app predicts.

        Raises
        ------
        ResourceError
            The network predicts other quantities only.
        """
        for head in self.heads:
            if head.name == outputs.AGE:
                return head
        others = ", ".join(head.name for head in self.heads)
        raise ResourceError(
            f"Model {self.name} predicts {others}, not age: choose a model with a head 'age'."
        )

    @property
    def weights_sha256(self) -> str:
        """One checksum for the whole model: the file's own, or that of the members' checksums."""
        known = [weight.sha256 or file_sha256(weight.path) for weight in self.weights]
        return (
            known[0] if len(known) == 1 else hashlib.sha256("\n".join(known).encode()).hexdigest()
        )

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return bool(self.raw.get("non_commercial", False))


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
        raise UsageError(f"Unknown model '{name}' (--model). Known models: {known}.")
    own = [path for path in places if models_dir and path.is_relative_to(models_dir)]
    cards = [load_card(path) for path in own or places]
    return next((card for card in cards if weights_present(card)), cards[0])


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
    if given := os.environ.get(MODELS_DIR_VARIABLE):
        return Path(given)
    return Path(platformdirs.user_data_dir("bidsapp_brainage")) / "models"


def weights_present(card: ModelCard) -> bool:
    """Whether every weight file is there; says nothing about what is in them."""
    return all(weight.path.is_file() for weight in card.weights)


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
                f"Weights of model {card.name} are missing: {weight.path}. {_remedy(card, weight)}"
            )
        if fault := weight_fault(weight, weight.path):
            raise ResourceError(
                f"Weights {weight.path} are not those of model card {card.name}: {fault}. "
                f"{_remedy(card, weight)}"
            )


def weight_fault(weight: WeightFile, path: Path) -> str:
    """What is wrong with a file that should be `weight`; empty if nothing is.

    Parameters
    ----------
    weight : WeightFile
        What the card says.
    path : Path
        The file to look at.
    """
    size = path.stat().st_size
    if weight.size is not None and size != weight.size:
        return f"it has {size} bytes, the card says {weight.size}"
    if weight.sha256 is not None and (found := file_sha256(path)) != weight.sha256:
        return f"sha256 is {found}, the card says {weight.sha256}"
    if weight.git_blob_id is not None and (found := file_git_blob_id(path)) != weight.git_blob_id:
        return f"git blob id is {found}, the card says {weight.git_blob_id}"
    return ""


def file_git_blob_id(path: Path) -> str:
    """Name that Git gives a file's content, as 40 hex digits."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    return _digest(path, digest)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    return _digest(path, hashlib.sha256())


def _digest(path: Path, digest: hashlib._Hash) -> str:
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
    path = Path(spec.removeprefix("file:"))
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
        weights=tuple(_weight_from(entry, folder) for entry in raw["weights"]),
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


def _weight_from(entry: dict[str, Any], folder: Path) -> WeightFile:
    others = {key: value for key, value in entry.items() if key not in ("file", "sha256")}
    return WeightFile(folder / entry["file"], entry.get("sha256"), **others)


def _folders(models_dir: Path | None) -> list[Path]:
    given = [Path(models_dir)] if models_dir else []
    return [*given, bundled_folder(), fetched_folder()]


def _places(name: str, models_dir: Path | None) -> Iterator[Path]:
    """Existing files that can be the card of this name, in the order in which they count."""
    for folder in _folders(models_dir):
        for path in (folder / f"{name}.json", folder / name / f"{name}.json"):
            if path.is_file():
                yield path


def _remedy(card: ModelCard, weight: WeightFile) -> str:
    if weight.url:
        accept = " --accept-licence" if card.non_commercial else ""
        return f"Fetch it with: brainage-model fetch {card.name}{accept}"
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
    if (found := axis_codes(affine)) != raw["input"]["orientation"]:
        yield f"input.affine: its axes run {found}, input.orientation says otherwise"
    yield from _source_faults(raw["input"])
    yield from _weight_faults(raw["weights"])
    formats = {weight.get("format", "safetensors") for weight in raw["weights"]}
    if (raw["architecture"]["id"] == "onnx") != ("onnx" in formats):
        yield "architecture.id: 'onnx' goes with weights of format 'onnx', and with no other"
    yield from _output_faults(raw)


def axis_codes(affine: np.ndarray) -> str:
    """Directions in which the voxel axes run, such as ``RAS`` or ``LIA``; ``?`` if unclear."""
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    axes = np.abs(columns).argmax(axis=0)
    if len(set(axes)) < 3:
        return "?"
    return "".join("RAS"[a] if columns[a, k] > 0 else "LPI"[a] for k, a in enumerate(axes))


def _source_faults(spec: dict[str, Any]) -> Iterator[str]:
    source, native = spec.get("source_grid"), spec["registration"] == "native"
    if source is None:
        if native or spec["intensity"].get("at") == "source":
            yield "input.source_grid: missing; native images and scaling at the source need it"
    elif native and "resolution_mm" not in source:
        yield "input.source_grid.resolution_mm: missing; the grid of native images needs it"
    elif not native and "affine" not in source:
        yield "input.source_grid.affine: missing; the grid lies in the template"
    elif "affine" in source and axis_codes(np.asarray(source["affine"])) != spec["orientation"]:
        yield "input.source_grid.affine: its axes do not run as input.orientation says"
    if native and spec.get("crop") != "brain":
        yield "input.crop: native images have no place of their own; it must be 'brain'"


def _weight_faults(weights: list[dict[str, Any]]) -> Iterator[str]:
    for place, weight in enumerate(weights):
        if "sha256" not in weight and "git_blob_id" not in weight:
            yield f"weights.{place}: 'sha256' or 'git_blob_id' is needed to verify the file"
    names = [weight["file"] for weight in weights]
    if len(set(names)) < len(names):
        yield "weights: two entries have the same file"
    if len({weight.get("format", "safetensors") for weight in weights}) > 1:
        yield "weights: all members must have the same format"


def _output_faults(raw: dict[str, Any]) -> Iterator[str]:
    parts = outputs.heads(raw["output"])
    several = "heads" in raw["output"]
    for head in parts:
        field = f"output.heads.{head.name}" if several else "output"
        if head.clip and not head.clip[0] < head.clip[1]:
            yield f"{field}.clip: the lower end {head.clip[0]} is not below {head.clip[1]}"
        if head.scale == 0:
            yield f"{field}.scale: 0 would give everybody the same value"
        if head.name == outputs.AGE and head.coding == "classes":
            yield f"{field}.coding: an age is coded as bins, scalar or ranks, not as classes"
        elif head.name == outputs.AGE and head.unit != "year":
            yield f"{field}.unit: an age is in 'year', not '{head.unit}'"
    total = outputs.n_outputs(parts)
    for parameter in ("n_bins", "n_outputs"):
        given = raw["architecture"]["parameters"].get(parameter, total)
        if given != total:
            field = "output.heads" if several else "output.n_bins"
            yield f"{field}: {total} numbers, but architecture.parameters.{parameter} is {given}"
