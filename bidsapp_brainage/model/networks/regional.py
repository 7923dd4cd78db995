"""A linear network on the volumes of regions, which knows where they are in each brain."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.networks.branches import Branches
from bidsapp_brainage.model.networks.linear import spread_over_bins
from bidsapp_brainage.model.networks.mixture import Mixture


class RegionLinear(nn.Module):
    """Age as a weighted sum of the volumes of a few large regions.

    Volumes of regions travel from scanner to scanner where intensities and maps do not, because a
    segmentation finds the regions in every brain anew. The network sees tissue units (fluid 0,
    grey matter 1, white matter 2). A voxel counts as tissue by ``min(units / full, 1)`` and as
    fluid by the rest, for the region that it belongs to. Volumes are parts of the intracranial
    volume, which is that of all regions: if a part of the brain is occluded by fluid, a region
    loses what the fluid around the brain gains.

    :meth:`bound` gives the network for one brain. It is a sum over voxels and then a Gaussian over
    bins, so that contributions of parts of the brain add up.

    Parameters
    ----------
    regions : mapping
        Indices in the segmentation of every region that has a weight, by its name. Voxels of other
        indices count for the intracranial volume alone, 0 is outside.
    fluid : mapping
        The same for fluid; the first is what occluded tissue becomes.
    lower, width, n_bins : float, float, int
        Bins (years) over which the answer is spread.
    full : float
        Tissue units from which a voxel is no fluid at all. The smaller it is, the less do levels
        of intensity count, and the more does the segmentation.
    label_sd : float
        SD (years) of the Gaussian.
    """

    weight: torch.Tensor
    intercept: torch.Tensor

    def __init__(
        self,
        regions: Mapping[str, Sequence[int]],
        fluid: Mapping[str, Sequence[int]],
        lower: float,
        width: float,
        n_bins: int,
        *,
        full: float = 1.0,
        label_sd: float = 3.0,
    ) -> None:
        super().__init__()
        self.names = (*regions, *fluid)
        self.n_tissues = len(regions)
        self.full = full
        self._indices = [np.asarray(part) for part in (*regions.values(), *fluid.values())]
        self.register_buffer("weight", torch.zeros(len(self.names)))
        self.register_buffer("intercept", torch.zeros(1))
        self.spread, self.middle = spread_over_bins(lower, width, n_bins, label_sd)
        self.requires_grad_(requires_grad=False)

    def fractions(self, units: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Parts of the intracranial volume, shape (n_regions,), in the order of ``names``.

        `units` and `labels` are volumes (D, H, W); labels are indices of the segmentation.
        """
        part = self.parts_of(labels).ravel()
        tissue = np.clip(units / self.full, 0, 1) * (labels > 0)
        amounts = np.bincount(part, tissue.ravel(), minlength=len(self.names) + 1)
        sizes = np.bincount(part, labels.ravel() > 0, minlength=len(self.names) + 1)
        return self.fractions_of(amounts, sizes)

    def fractions_of(self, amounts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The same from voxels of tissue, and voxels, of each region (n_regions + 1,).

        The last are those of regions without a name.
        """
        empty = sizes - amounts
        found = np.where(np.arange(len(self.names)) < self.n_tissues, amounts[:-1], empty[:-1])
        found[self.n_tissues] = empty.sum() - empty[self.n_tissues + 1 : -1].sum()
        return np.asarray(found / max(float(sizes.sum()), 1.0))

    def set_weights(self, weight: np.ndarray, intercept: float) -> None:
        """Put in years per part of the intracranial volume, and the age of a brain without."""
        self.weight.copy_(torch.from_numpy(np.asarray(weight, dtype=np.float32)))
        self.intercept.fill_(float(intercept))

    def bound(self, labels: np.ndarray) -> nn.Module:
        """The network for a brain with these regions, (D, H, W), as one sum over its voxels."""
        weight = np.append(self.weight.double().cpu().numpy(), 0.0)
        place, outside = self.parts_of(labels), len(weight)
        place[labels <= 0] = outside
        sizes = np.bincount(place.ravel(), minlength=outside + 1)[:-1]
        around = weight[self.n_tissues]  # of what has no fluid region of its own
        places = np.arange(len(weight))
        fluid = (places >= self.n_tissues) & (places < len(self.names))
        empty, full = np.where(fluid, weight, around), np.where(fluid, 0.0, weight)
        count = max(int(sizes.sum()), 1)
        years = (full - empty) / count  # of a voxel of tissue in place of fluid
        usual = np.where(fluid, empty, full)  # fluid is fluid, the rest is tissue
        age = float(self.intercept) + float(usual @ sizes) / count
        of_place = np.stack([np.where(fluid, years, 0.0), np.where(fluid, 0.0, -years)])
        weights = np.pad(of_place, ((0, 0), (0, 1))).astype(np.float32)[:, place]
        network = BoundRegions(weights, age - self.middle, copy.deepcopy(self.spread), self.full)
        return network.to(self.weight.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raise: without the regions of a brain there is no answer."""
        raise DataError("This network must be bound to the regions of a brain first.")

    def parts_of(self, labels: np.ndarray) -> np.ndarray:
        """Place in ``names`` of every voxel; their number where it has none."""
        table = np.full(int(max(labels.max(), *(part.max() for part in self._indices))) + 1, -1)
        for place, part in enumerate(self._indices):
            table[part] = place
        table[table < 0] = len(self.names)
        return table[labels]


class BoundRegions(nn.Module):
    """Age as a sum over the voxels of one brain; logits (N, n_bins) of (N, 1, D, H, W).

    What is summed is tissue where fluid is expected, and fluid where tissue is: little in an intact
    brain. A sum of all tissue would lose hundredths of a year in float32.

    Parameters
    ----------
    weights : ndarray, shape (2, D, H, W)
        Years by which a voxel of tissue, and one of fluid, changes the age.
    age : float
        Of the brain with tissue and fluid where they are expected, less the middle of the bins.
    spread : nn.Linear
        From :func:`.linear.spread_over_bins`.
    full : float
        As that of :class:`RegionLinear`.
    """

    def __init__(self, weights: np.ndarray, age: float, spread: nn.Linear, full: float) -> None:
        super().__init__()
        self.shape, self.full = weights.shape, full
        self.units = nn.Conv3d(1, 1, 1, bias=False)  # t = units / full
        self.lack = nn.Conv3d(1, 1, 1)  # 1 - relu(t)
        self.both = nn.Conv3d(1, 2, 1)  # of the lack's positive part: tissue and fluid
        self.relu = nn.ReLU()
        # No million random numbers; nn.utils.skip_init would load a library of symbols for that.
        self.sum = nn.Linear(1, 1)
        self.sum.in_features = weights.size
        self.sum.weight = nn.Parameter(torch.from_numpy(weights.reshape(1, -1).astype(np.float32)))
        self.spread = spread
        with torch.no_grad():
            self.units.weight.fill_(1.0 / full)
            _set(self.lack, [-1.0], [1.0])
            _set(self.both, [-1.0, 1.0], [1.0, 0.0])
            self.sum.bias.fill_(age)
        self.requires_grad_(requires_grad=False)

    def mirrored(self, axis: int) -> BoundRegions:
        """The network for the mirror image of the brain, along an axis (0 to 2) of its volume."""
        other = copy.deepcopy(self)
        with torch.no_grad():
            weight = self.sum.weight.view(self.shape).flip(1 + axis)
            other.sum.weight.copy_(weight.reshape(1, -1))
        return other

    def years(self, x: torch.Tensor) -> torch.Tensor:
        """What each voxel adds to the age, compared with fluid (years), shape of x."""
        of_tissue, of_fluid = self.sum.weight.view(1, *self.shape).split(1, dim=1)
        return (of_tissue - of_fluid) * (x / self.full).clamp(0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits over the bins."""
        lack = self.relu(self.lack(self.relu(self.units(x))))
        return self.spread(self.sum(self.both(lack).flatten(1)))


def _set(layer: nn.Conv3d, weight: list[float], bias: list[float]) -> None:
    """Put numbers, one per output, into a convolution of one input and one voxel."""
    assert layer.bias is not None
    layer.weight.copy_(torch.tensor(weight)[:, None, None, None, None])
    layer.bias.copy_(torch.tensor(bias))


def needs_regions(member: nn.Module) -> bool:
    """Whether a network, or a part of it, must be bound to the regions of a brain."""
    return any(isinstance(part, RegionLinear) for part in member.modules())


def for_brain(members: Sequence[nn.Module], regions: np.ndarray | None) -> list[nn.Module]:
    """Networks for one brain: those that need its regions (D, H, W) are bound to them.

    Raises
    ------
    DataError
        A network needs regions and there are none.
    """
    return [_for_brain(member, regions) if needs_regions(member) else member for member in members]


def _for_brain(member: nn.Module, regions: np.ndarray | None) -> nn.Module:
    if regions is None:
        raise DataError(
            "This model needs the regions of the brain beside its input, and there are none: run "
            "the app on the image itself."
        )
    assert isinstance(member, RegionLinear | Mixture | Branches)
    return member.bound(regions).eval()
