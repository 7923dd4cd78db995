"""Cards of segmentation networks: ``data/segmentation/<name>.json``, weights and regions beside."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from bidsapp_brainage.errors import DataError, ResourceError
from bidsapp_brainage.io import load_nifti, parse_json, read_tsv
from bidsapp_brainage.model.card_checks import schema_faults
from bidsapp_brainage.model.specs import Grid
from bidsapp_brainage.model.weights.files import WeightFile, verify_weights

from .labels import Labels

if TYPE_CHECKING:
    from .network import SegmentationNet

#: The segmentation of every run whose model asks for no other.
EMBEDDED = "muse2mm"
_SCHEMA = "segmentation/card.schema.json"
_REINSTALL = "Reinstall bidsapp-brainage."


@dataclass(frozen=True)
class SegmentationCard:
    """What a segmentation network needs and what is known about it.

    Attributes
    ----------
    name, version, description, licence : str
    citation_keys : tuple of str
        Keys of the app's bibliography.
    architecture : dict
        Arguments of :class:`.network.SegmentationNet`.
    grid : Grid
        Template, shape and affine (voxel to template RAS mm) of what the network sees.
    labels : Labels
        Regions in the order of the classes.
    weights : tuple of WeightFile
        The network's, and the mean tissue of the people that it learned from.
    path : Path
        The card itself.
    raw : dict
        The whole of it, with ``training`` and ``dice``.
    """

    name: str
    version: str
    description: str
    licence: str
    citation_keys: tuple[str, ...]
    architecture: dict[str, Any]
    grid: Grid
    labels: Labels
    weights: tuple[WeightFile, ...]
    path: Path
    raw: dict[str, Any]

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use: never, as the weights come with the app."""
        return False


def bundled_folder() -> Path:
    """Folder of the cards that come with the package."""
    return Path(str(resources.files("bidsapp_brainage"))) / "data" / "segmentation"


def find_segmentation(name: str = EMBEDDED, folder: Path | None = None) -> SegmentationCard:
    """Find a segmentation by its name and make sure that its weights are there.

    Parameters
    ----------
    name : str
        As a model card names it in ``input.segmentation``.
    folder : Path, optional
        Of the cards; by default that of the package.

    Raises
    ------
    ResourceError
        There is no such card, or card or weights are broken; the message says what to do.
    """
    folder = bundled_folder() if folder is None else folder
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(own.stem for own in folder.glob("*.json") if "." not in own.stem))
        raise ResourceError(
            f"The segmentation '{name}' is missing ({path}); known here: {known or 'none'}. "
            "Install the version of bidsapp-brainage that the model was made with, or choose "
            "another `model`."
        )
    card = load_segmentation_card(path)
    verify_weights(card)
    return card


def load_segmentation_card(path: Path) -> SegmentationCard:
    """Read and check one card (not its weights).

    Raises
    ------
    ResourceError
        The file is missing, is no JSON, breaks the schema, or its table of regions is broken.
    """
    try:
        raw = parse_json(path)
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"Segmentation card {path} cannot be read: {error}. {_REINSTALL}"
        ) from error
    faults = list(schema_faults(raw, _SCHEMA))
    if faults:
        listing = "\n  ".join(faults)
        raise ResourceError(f"Segmentation card {path} is not valid:\n  {listing}\n{_REINSTALL}")
    labels = _labels(path.parent / raw["classes"])
    stated = raw["architecture"]["n_classes"]
    if labels.n_classes != stated:
        raise ResourceError(
            f"Segmentation card {path}: architecture.n_classes is {stated}, but {raw['classes']} "
            f"has {labels.n_classes - 1} regions and there is the outside. {_REINSTALL}"
        )
    files = tuple(
        WeightFile(path.parent / part["file"], part["sha256"], size=part["size"])
        for part in (raw["weights"], raw["mean_tissue"])
    )
    return SegmentationCard(
        name=raw["name"],
        version=raw["version"],
        description=raw["description"],
        licence=raw["licence"],
        citation_keys=tuple(raw["citation_keys"]),
        architecture=raw["architecture"],
        grid=raw["input"],
        labels=labels,
        weights=files,
        path=path,
        raw=raw,
    )


def load_network(card: SegmentationCard) -> SegmentationNet:
    """The network with its weights, for prediction only.

    Weights are stored as float16 and computed with as float32.

    Raises
    ------
    ResourceError
        Weights are missing, altered, or belong to another architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .network import SegmentationNet

    verify_weights(card)
    weight = card.weights[0]
    try:
        network = SegmentationNet(**card.architecture)
        network.load_state_dict(load_file(weight.path), strict=True)
    except (SafetensorError, RuntimeError, TypeError, OSError, ValueError) as error:
        raise ResourceError(
            f"Weights {weight.path} do not fit the architecture on segmentation card {card.name} "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). {_REINSTALL}"
        ) from error
    return network.eval().requires_grad_(requires_grad=False)


def load_mean_tissue(card: SegmentationCard) -> nib.Nifti1Image:
    """Mean tissue units (float32) of the people that a network learned from, on its grid.

    Raises
    ------
    ResourceError
        The file is missing or altered.
    """
    verify_weights(card)
    stored = load_nifti(card.weights[1].path)
    return nib.Nifti1Image(stored.get_fdata(dtype=np.float32), stored.affine)


def _labels(path: Path) -> Labels:
    try:
        labels = Labels(read_tsv(path))
        _ = labels.indices, labels.tissues
    except (DataError, KeyError, ValueError) as error:
        raise ResourceError(
            f"Table of regions {path} cannot be used: {error}. {_REINSTALL}"
        ) from error
    return labels
