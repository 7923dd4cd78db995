"""Weight files: what a card says about them, and whether they are what it says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.io import atomic_path, file_sha256

if TYPE_CHECKING:
    from torch import nn


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


class HasWeights(Protocol):
    """What a card must tell so that its weights can be verified."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def weights(self) -> tuple[WeightFile, ...]:
        """Its files."""

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""


def weights_present(card: HasWeights) -> bool:
    """Whether every weight file is there; says nothing about what is in them."""
    return all(weight.path.is_file() for weight in card.weights)


def verify_weights(card: HasWeights) -> None:
    """Make sure that every weight file is there and is the one that the card was written for.

    Raises
    ------
    ResourceError
        A file is missing (the message says how to get it) or its checksum differs.
    """
    for weight in card.weights:
        if not weight.path.is_file():
            raise ResourceError(
                f"Weights of model {card.name} are missing: {weight.path}. "
                f"{weights_remedy(card, weight)}"
            )
        if fault := weight_fault(weight, weight.path):
            raise ResourceError(
                f"Weights {weight.path} are not those of model card {card.name}: {fault}. "
                f"{weights_remedy(card, weight)}"
            )


def weight_fault(weight: WeightFile, path: Path) -> str:
    """What is wrong with the file at `path` that should be `weight`; empty if nothing is."""
    size = path.stat().st_size
    if weight.size is not None and size != weight.size:
        return f"it has {size} bytes, the card says {weight.size}"
    if weight.sha256 is not None and (actual := file_sha256(path)) != weight.sha256:
        return f"sha256 is {actual}, the card says {weight.sha256}"
    if weight.git_blob_id is not None and (actual := file_git_blob_id(path)) != weight.git_blob_id:
        return f"git blob id is {actual}, the card says {weight.git_blob_id}"
    return ""


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors, atomically."""
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)


def file_git_blob_id(path: Path) -> str:
    """Name that Git gives a file's content, as 40 hex digits."""
    header = f"blob {path.stat().st_size}\0".encode()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False))
    return digest.hexdigest()


def weights_remedy(card: HasWeights, weight: WeightFile) -> str:
    """How to get the right file."""
    if weight.url:
        accept = " (its licence has to be accepted)" if card.non_commercial else ""
        return f"Fetch it with: brainage-model fetch {card.name}{accept}"
    return "Reinstall bidsapp-brainage, or copy the file that came with the card to this place."
