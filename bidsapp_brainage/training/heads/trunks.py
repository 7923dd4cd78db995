"""U-Nets of networks for raw heads: where they are kept, and networks that begin with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.io import atomic_path
from bidsapp_brainage.model.cards import find_card, list_cards
from bidsapp_brainage.model.networks.headvolumes import HeadVolumes
from bidsapp_brainage.model.weights.loading import load_members

#: Model of raw heads, and its recipe.
HEADS_MODEL = "fast4mm"


def take_trunk(network: HeadVolumes, number: int) -> None:
    """Give a network the U-Net of a member of the model ``fast4mm`` (counted around), in place.

    Raises
    ------
    UsageError
        There is no such model, or the network has other regions or channels.
    """
    if HEADS_MODEL not in list_cards():
        raise UsageError(
            f"Ages are fitted to what a trained U-Net sees, and there is no model {HEADS_MODEL}: "
            "train one with brainage-model train-heads, and name its folder in "
            "BRAINAGE_MODELS_DIR."
        )
    card = find_card(HEADS_MODEL)
    members = load_members(card)
    try:
        network.load_state_dict(members[number % len(members)].state_dict())
    except RuntimeError as error:
        raise UsageError(
            f"The architecture differs from that of {card.name}, whose U-Net is taken: keep its "
            "regions and channels, or train a U-Net with brainage-model train-heads."
        ) from error


def save_small(network: HeadVolumes, path: Path) -> None:
    """Write weights: float16, but float32 where ages come from."""
    tensors = {
        name: value.contiguous() if name.startswith(("sum.", "spread.")) else value.half()
        for name, value in network.state_dict().items()
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors))


def rounded(network: HeadVolumes) -> HeadVolumes:
    """The same network with its U-Net rounded as :func:`save_small` keeps it, in place."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not name.startswith(("sum.", "spread.")):
                value.copy_(value.half().float())
    return network


def unseen_by(people: Sequence[str], seen: Sequence[Sequence[str]]) -> list[list[int]]:
    """Numbers of the U-Nets that have not seen each person; `seen` has the people of each."""
    return [
        [number for number, group in enumerate(seen) if person not in group] for person in people
    ]
