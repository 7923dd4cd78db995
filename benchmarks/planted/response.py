"""What the embedded network does when a region of a real brain shrinks, against explanations."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import embedded_images
from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession
from bidsapp_brainage.model import cards, prediction
from bidsapp_brainage.model.networks.mixture import Mixture
from bidsapp_brainage.model.networks.regional import RegionLinear, for_brain
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.segmentation.prepare import prepared_input

from .anatomies import segmented_regions
from .answers import age_changes
from .warps import Field, shrinking, thinned

LOST = 0.1
NOISE = 0.05  # tissue units, for the ceiling
NULL_PARCELS = 10
MODEL = "sfcn2mm"
VOXEL_ML = 0.008
#: Methods that explain voxels, whose sums over regions are compared. Learned noise takes minutes
#: for a person, and its importance has no sign.
ATTRIBUTIONS = {"ig": "integrated gradients", "lrp": "relevance propagation"}
ATTRIBUTED = ("background", "template")
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Person:
    """Input of the model, its regions, and their names."""

    name: str
    volume: NDArray[np.float32]
    regions: NDArray[np.int32]
    atlas: pd.DataFrame


@dataclass(frozen=True)
class Changed:
    """A box of a brain after a change: tissue, and amounts of the model's regions (n, *box)."""

    box: Box
    volume: NDArray[np.float32]
    amounts: NDArray[np.float32]


class Shipped:
    """The embedded model for one brain, whose regions may become soft.

    The mixture's parts that look at tissue are asked by the occlusion engine; the part that looks
    at volumes of regions is a few sums, which a change of a box adds to.
    """

    def __init__(self, members: Sequence[nn.Module], decode, person: Person) -> None:
        self._person, self._decode = person, decode
        mixtures = [member for member in members if isinstance(member, Mixture)]
        self._linear = [_regional(member) for member in mixtures]
        shares = mixtures[0].shares
        at = [isinstance(part, RegionLinear) for part in mixtures[0].parts].index(True)
        self._share = shares[at]
        local = [k for k in range(len(shares)) if k != at]
        self._tissue = Ensemble(
            tuple(
                Mixture([m.parts[k] for k in local], [shares[k] for k in local]) for m in mixtures
            ),
            decode,
        )
        self.parts = self._linear[0].parts_of(person.regions)
        self._sums = self._sums_of(person.volume, self.amounts(self._everything()))
        self._age = self._regional_age(self._sums)

    def amounts(self, box: Box) -> NDArray[np.float32]:
        """Which region a voxel belongs to, 1 or 0, shape (n + 1, *box); the last has no name."""
        names = range(len(self._linear[0].names) + 1)
        inside = self._person.regions[box] > 0
        return np.stack([(self.parts[box] == k) & inside for k in names]).astype(np.float32)

    def changes(self, changed: Mapping[int, Changed]) -> dict[int, float]:
        """Change of the predicted age (years), each change by itself."""
        boxes = {k: (one.box, one.volume) for k, one in changed.items()}
        tissue = age_changes(self._tissue, self._person.volume, boxes)
        return {
            k: (1 - self._share) * tissue.get(k, 0.0) + self._share * self._regional_change(one)
            for k, one in changed.items()
        }

    def _regional_change(self, one: Changed) -> float:
        before = self._sums_of(self._person.volume[one.box], self.amounts(one.box))
        return (
            self._regional_age(self._sums - before + self._sums_of(one.volume, one.amounts))
            - self._age
        )

    def _sums_of(self, units: NDArray, amounts: NDArray[np.float32]) -> NDArray[np.float64]:
        tissue = np.clip(units / self._linear[0].full, 0, 1)
        axes = (1, 2, 3)
        return np.stack(
            [(amounts * tissue).sum(axes, np.float64), amounts.sum(axes, dtype=np.float64)]
        )

    def _regional_age(self, sums: NDArray[np.float64]) -> float:
        fractions = self._linear[0].fractions_of(*sums)
        logits = [
            part.spread(torch.tensor([[float(
                part.weight.double().numpy() @ fractions + float(part.intercept) - part.middle
            )]]))
            for part in self._linear
        ]  # fmt: skip
        return float(np.mean([float(self._decode(one)[1][0]) for one in logits]))

    def _everything(self) -> Box:
        return tuple(slice(0, n) for n in self._person.volume.shape)


def _regional(member: Mixture) -> RegionLinear:
    (part,) = (part for part in member.parts if isinstance(part, RegionLinear))
    return part


def find_people(folders: Sequence[Path]) -> list[Path]:
    """Inputs of the model in folders of derivatives."""
    name = f"*_desc-{MODEL}input_T1w.nii.gz"
    return sorted(path for folder in folders for path in folder.rglob(name))


def read_person(image: Path) -> Person:
    """A person's input of the model, explained by the regions of the segmentation itself."""
    dseg = io.load_nifti(image.with_name(image.name.replace("_T1w.nii", "_dseg.nii")))
    regions = np.asarray(dseg.dataobj).astype(np.int32)
    volume = io.load_nifti(image).get_fdata(dtype=np.float32)
    atlas = segmented_regions()
    present = atlas["index"].isin(np.unique(regions))
    return Person(image.name.split("_space-")[0], volume, regions, atlas[present])


def respond(person: Person) -> pd.DataFrame:
    """One row per region of the atlas: the model's answers to changes, and explanations.

    ``shrink``, ``swell`` and ``thin`` are the changes of the predicted age (years) when the region
    loses or gains a tenth of its volume, or loses a tenth of its tissue to fluid;
    ``shrink, noisy`` is that of the same image with other noise.
    """
    card = cards.find_card(MODEL)
    members, decode = load_members(card), prediction.decoder(card)
    table = person.atlas[["index", "name"]].copy()
    indices = [int(index) for index in table["index"]]
    table["n_voxels"] = [int((person.regions == index).sum()) for index in indices]
    for name, column in _answers(members, decode, person, indices).items():
        table[name] = column
    for name, column in _explanations(members, decode, person).items():
        table[name] = column
    table.insert(0, "person", person.name)
    return table


def _answers(
    members, decode, person: Person, indices: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    noise = NOISE * rng.standard_normal(person.volume.shape).astype(np.float32)
    noisy = Person(
        person.name, np.where(person.regions > 0, person.volume + noise, person.volume),
        person.regions, person.atlas,
    )  # fmt: skip
    wanted = {
        "shrink": (person, LOST), "swell": (person, -LOST), "shrink, noisy": (noisy, LOST),
    }  # fmt: skip
    found = {}
    for name, (who, share) in wanted.items():
        model = Shipped(members, decode, who)
        found[name] = _column(model.changes({
            k: _moved(model, who, shrinking(who.regions == index, share))
            for k, index in enumerate(indices) if (who.regions == index).any()
        }), len(indices))  # fmt: skip
    model = Shipped(members, decode, person)
    found["thin"] = _column(model.changes({
        k: _dried(model, person, index)
        for k, index in enumerate(indices) if (person.regions == index).any()
    }), len(indices))  # fmt: skip
    return found


def _moved(model: Shipped, person: Person, field: Field) -> Changed:
    amounts = np.stack(
        [field.pull_box(one) if one.any() else one for one in model.amounts(field.box)]
    )
    return Changed(field.box, field.pull(person.volume), amounts)


def _dried(model: Shipped, person: Person, index: int) -> Changed:
    box, values = thinned(person.volume, person.regions == index, LOST)
    return Changed(box, values, model.amounts(box))


def _column(found: Mapping[int, float], n: int) -> NDArray[np.float64]:
    return np.array([found.get(k, np.nan) for k in range(n)])


def _explanations(members, decode, person: Person) -> dict[str, NDArray[np.float64]]:
    ensemble = Ensemble(tuple(for_brain(members, person.regions)), decode)
    keys = tuple(card.key for card in BASELINES)
    session = ExplanationSession(ExplanationInput(
        ensemble=ensemble, volume=person.volume, labels=person.regions, atlas=person.atlas,
        voxel_ml=VOXEL_ML, baselines=keys, mask=person.regions > 0, template=seen_template(),
        null_parcels=NULL_PARCELS,
    ))  # fmt: skip
    made = find("occlusion")(session)
    found = {f"occlusion, {keys[0]}, z": made["table"]["z_null"].to_numpy()}
    tables = [("occlusion", made["baselines"])]
    few = ExplanationSession(replace(session.inputs, baselines=ATTRIBUTED, null_parcels=0))
    tables += [(name, find(key)(few)[key]) for key, name in ATTRIBUTIONS.items()]
    for name, table in tables:
        for baseline, rows in table.groupby("baseline", sort=False, dropna=False):
            full = f"{name}, {baseline}" if isinstance(baseline, str) else name
            column = "importance" if rows["delta_age"].isna().all() else "delta_age"
            found[full] = rows[column].to_numpy()
            found[f"{full}, per ml"] = rows[f"{column}_per_ml"].to_numpy()
    return found


@functools.cache
def seen_template() -> NDArray[np.float32]:
    """The template of the model as the model would see it."""
    volume, _ = prepared_input(*embedded_images(), np.eye(4), cards.find_card(MODEL).input)
    return volume.get_fdata(dtype="float32")
