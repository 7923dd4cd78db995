"""The channels of a model: one volume each, of a modality, of the whole brain or of some regions.

A card without ``input.channels`` has one, the whole T1w. A network of several channels has a branch
for each, and answers with the mean of the branches whose images are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.intensity import background_value
from bidsapp_brainage.model.specs import ChannelSpec, InputSpec

T1W = "T1w"

#: Parts of the brain by the indices of the embedded segmentation (MUSE).
REGION_SETS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "cortex": tuple(range(100, 208)),
        # deep grey matter, amygdala, hippocampus, basal forebrain, brainstem
        "subcortex": (23, 30, 31, 32, 35, 36, 37, 47, 48, *range(55, 63), 75, 76),
        "cerebellum": (38, 39, 40, 41, 71, 72, 73),
    }
)


@dataclass(frozen=True)
class Channel:
    """What one branch of a network sees.

    Attributes
    ----------
    modality : str
        Suffix of the image (``T1w``, ``T2w``, ``FLAIR`` ...).
    part : str
        Name of the part of the brain; empty: the whole.
    indices : tuple of int
        Its regions in the model's segmentation; empty: the whole brain.
    """

    modality: str = T1W
    part: str = ""
    indices: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Modality and part, letters and digits: ``T1w``, ``T1wCortex``."""
        return self.modality + self.part[:1].upper() + self.part[1:]


def channels(spec: InputSpec) -> tuple[Channel, ...]:
    """Channels of a card's ``input``, in its order."""
    return tuple(_channel(each) for each in spec.get("channels", ())) or (Channel(),)


def modalities(spec: InputSpec) -> tuple[str, ...]:
    """Modalities that a card's ``input`` names, each once, T1w first if it is among them."""
    named = dict.fromkeys(channel.modality for channel in channels(spec))
    return tuple(sorted(named, key=lambda modality: modality != T1W))


def input_of(spec: InputSpec, modality: str) -> InputSpec:
    """A card's ``input`` for the image of one modality, with the scaling that its channel names."""
    for each in spec.get("channels", ()):
        if each["modality"] == modality and "intensity" in each:
            return {**spec, "intensity": each["intensity"]}
    return spec


def alone(spec: InputSpec, channel: Channel) -> InputSpec:
    """A card's ``input`` with one of its channels only."""
    own = [each for each in spec.get("channels", ()) if _channel(each) == channel]
    one = input_of(spec, channel.modality)
    return {**one, "channels": own} if own else one


def is_plain(spec: InputSpec) -> bool:
    """Whether a model sees one volume, as it is: no second channel and no part of the brain."""
    first, *others = channels(spec)
    return not others and not first.indices


def channel_volumes(
    spec: InputSpec, images: Mapping[str, np.ndarray], regions: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What each branch sees of a person, by the name of its channel.

    Parameters
    ----------
    spec : mapping
        ``input`` of the card.
    images : mapping
        Volumes (D, H, W) by modality; those that are there.
    regions : ndarray of int, shape (D, H, W), or None
        Indices of the model's segmentation.

    Raises
    ------
    DataError
        No channel has its image, or one lacks it and the card wants all of them; or a channel is a
        part of the brain and there are no regions.
    """
    wanted = channels(spec)
    missing = [modality for modality in modalities(spec) if modality not in images]
    if len(missing) == len(modalities(spec)) or (missing and not spec.get("any_subset", False)):
        raise DataError(missing_modalities(missing))
    return {
        channel.name: restricted(images[channel.modality], regions, channel, spec)
        for channel in wanted
        if channel.modality in images
    }


def missing_modalities(missing: Sequence[str]) -> str:
    """Message about images that a model needs and a person lacks."""
    return (
        f"The model needs {' and '.join(missing)} of this session, and there is none: add the "
        "image, or choose a model that takes what there is (any_subset on its card)."
    )


def restricted(
    volume: np.ndarray, regions: np.ndarray | None, channel: Channel, spec: InputSpec
) -> np.ndarray:
    """A volume (D, H, W) with background outside the part of the brain that a channel shows."""
    if not channel.indices:
        return volume
    outside = np.float32(background_value(spec, volume))
    return np.where(shown(regions, channel), volume, outside).astype(np.float32)


def shown(regions: np.ndarray | None, channel: Channel) -> np.ndarray:
    """Voxels (bool) of the part of the brain that a channel shows.

    Raises
    ------
    DataError
        There are no regions, or none of this part.
    """
    inside = None if regions is None else np.isin(regions, channel.indices)
    if inside is None or not inside.any():
        raise DataError(
            f"The model sees the {channel.part} alone, and no segmentation finds it in this image."
        )
    return inside


def _channel(spec: ChannelSpec) -> Channel:
    part = spec.get("region")
    if part is None:
        return Channel(spec["modality"])
    if isinstance(part, str):
        return Channel(spec["modality"], part, REGION_SETS[part])
    return Channel(spec["modality"], part["name"], tuple(part["indices"]))
