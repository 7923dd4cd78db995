"""What is wrong with a model card: compared with the schema, and with itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model import outputs
from bidsapp_brainage.model.inputs.channels import channels
from bidsapp_brainage.model.specs import (
    OWN_SPACE,
    InputSpec,
    needs_segmentation,
)

_SCHEMA = "models/card.schema.json"


def check_card(raw: Any, path: Path) -> None:
    """Compare a card with the schema and with itself.

    Raises
    ------
    ResourceError
        Lists every field at fault and what was expected there.
    """
    faults = [*schema_faults(raw, _SCHEMA)] or [*_consistency_faults(raw)]
    if faults:
        listing = "\n  ".join(faults)
        raise ResourceError(
            f"Model card {path} is not valid:\n  {listing}\n"
            "Correct these fields; docs/models.md explains each of them."
        )


def schema_faults(raw: object, schema: str) -> Iterator[str]:
    """Give every field of a card that breaks a schema, which lies below ``data``."""
    import jsonschema  # imported here so that listing names stays fast

    path = resources.files("bidsapp_brainage") / "data" / schema
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
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
    if (codes := axis_codes(affine)) != raw["input"]["orientation"]:
        yield f"input.affine: its axes run {codes}, input.orientation says otherwise"
    yield from _source_faults(raw["input"])
    yield from _segmentation_faults(raw["input"])
    yield from _raw_image_faults(raw["input"])
    yield from _channel_faults(raw)
    yield from _weight_faults(raw["weights"])
    formats = {weight.get("format", "safetensors") for weight in raw["weights"]}
    if (raw["architecture"]["id"] == "onnx") != ("onnx" in formats):
        yield "architecture.id: 'onnx' goes with weights of format 'onnx', and with no other"
    yield from _output_faults(raw)
    yield from _trust_faults(raw)
    yield from _target_faults(raw)


def axis_codes(affine: ArrayLike) -> str:
    """Directions in which the voxel axes run, such as ``RAS`` or ``LIA``; ``?`` if unclear."""
    from nibabel.orientations import aff2axcodes

    matrix = np.asarray(affine, dtype=np.float64)
    return "?" if abs(np.linalg.det(matrix[:3, :3])) < 1e-6 else "".join(aff2axcodes(matrix))


def _source_faults(spec: dict[str, Any]) -> Iterator[str]:
    source, native = spec.get("source_grid"), spec["registration"] == "native"
    if source is None:
        if native or spec["intensity"].get("at") == "source":
            yield "input.source_grid: missing; native images and scaling at the source need it"
    elif native and "resolution_mm" not in source:
        yield "input.source_grid.resolution_mm: missing; the grid of native images needs it"
    elif not native and "affine" not in source:
        yield "input.source_grid.affine: missing; the grid lies in the template"
    elif "affine" in source and axis_codes(source["affine"]) != spec["orientation"]:
        yield "input.source_grid.affine: its axes do not run as input.orientation says"
    if native and spec.get("crop") != "brain":
        yield "input.crop: native images have no place of their own; it must be 'brain'"


def _raw_image_faults(spec: InputSpec) -> Iterator[str]:
    raw, own = spec["registration"] == "none", spec["template"] == OWN_SPACE
    if raw != own:
        yield f"input.template: it is '{OWN_SPACE}' where input.registration is 'none', only there"
    if raw and (spec["skull_stripped"] or "source_grid" in spec or needs_segmentation(spec)):
        yield (
            "input.registration: 'none' means raw images; 'skull_stripped', 'source_grid' and "
            "'segmentation' do not go with it"
        )
    if spec["registration"] == "quick" and not needs_segmentation(spec):
        yield "input.segmentation: missing; it finds the brain where input.registration is 'quick'"


def _segmentation_faults(spec: InputSpec) -> Iterator[str]:
    if spec["intensity"]["scaling"] == "segmentation" and not needs_segmentation(spec):
        yield "input.segmentation: missing; the scaling 'segmentation' needs its name"
    if needs_segmentation(spec) and (
        spec["registration"] not in ("affine", "quick")
        or "source_grid" in spec
        or not spec["skull_stripped"]
    ):
        yield (
            "input.segmentation: it knows affinely registered brains; 'source_grid', other "
            "registrations and whole heads do not go with it"
        )


def _channel_faults(raw: dict[str, Any]) -> Iterator[str]:
    """Faults of what the branches of a network see."""
    seen = channels(raw["input"])
    names = [channel.name for channel in seen]
    if len(set(names)) < len(names):
        yield "input.channels: two of them show the same part of the same modality"
    if any(channel.indices for channel in seen) and not needs_segmentation(raw["input"]):
        yield "input.segmentation: missing; a channel that shows a region needs its name"
    architecture = raw["architecture"]
    branched = architecture["id"] == "branches"
    if (branched or len(names) > 1) and (
        not branched or sorted(architecture["parameters"]) != sorted(names)
    ):
        yield (
            "architecture: several channels go with 'branches', whose parameters hold an "
            f"architecture for each of {', '.join(names)}"
        )
    if len(names) > 1 and "reference" in raw:
        yield "reference: it describes one image, and does not go with several input.channels"


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
        if head.coding == "classes" and head.explained_class not in head.classes:
            yield f"{field}.explained: '{head.explained}' is none of its classes"
        if head.scale == 0:
            yield f"{field}.scale: 0 would give everybody the same value"
        if head.name == outputs.AGE and head.coding == "classes":
            yield f"{field}.coding: an age is coded as bins, scalar or ranks, not as classes"
        elif head.name == outputs.AGE and head.unit != "year":
            yield f"{field}.unit: an age is in 'year', not '{head.unit}'"
    total = outputs.n_outputs(parts)
    for parameter in ("n_bins", "n_outputs"):
        stated = raw["architecture"]["parameters"].get(parameter, total)
        if stated != total:
            field = "output.heads" if several else "output.n_bins"
            yield f"{field}: {total} numbers, but architecture.parameters.{parameter} is {stated}"


def _target_faults(raw: dict[str, Any]) -> Iterator[str]:
    """Fields about ages on a card that predicts none, and intervals of what is no number."""
    parts = outputs.heads(raw["output"])
    if all(head.name != outputs.AGE for head in parts):
        for field in ("reference", "bias_correction", "selftest"):
            if raw.get(field):
                yield f"{field}: is about ages, and the network predicts none"
    numbers = {head.name for head in parts if head.coding != "classes"} - {outputs.AGE}
    for name in raw.get("calibration", {}).get("targets", {}):
        if name not in numbers:
            yield f"calibration.targets.{name}: is no head that predicts a number other than age"


def _trust_faults(raw: dict[str, Any]) -> Iterator[str]:
    """Faults of the interval and of what it needs to know about the training people."""
    grows = raw.get("calibration", {}).get("scale", {}).get("distance", 0) > 0
    reference = raw.get("reference")
    if reference is None:
        if grows:
            yield "reference: missing; the width in calibration.scale grows with the distance"
        return
    size = len(reference["features"])
    covariance = reference["covariance"]
    if len(covariance) != size or any(len(row) != size for row in covariance):
        yield f"reference.covariance: must have {size} rows and columns, one for each feature"
    elif not _positive_definite(np.asarray(covariance, dtype=np.float64)):
        yield "reference.covariance: is no covariance (symmetric, with eigenvalues above 0)"
    if axes := reference.get("encoder"):
        lengths = {len(axes["center"]), len(axes["sd"]), *map(len, axes["components"])}
        if len(lengths) > 1:
            yield "reference.encoder: center, sd and each of components must be equally long"


def _positive_definite(matrix: np.ndarray) -> bool:
    return bool(np.allclose(matrix, matrix.T) and np.linalg.eigvalsh(matrix).min() > 0)
