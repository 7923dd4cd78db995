"""An age for every patch of a brain, and the mean of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp_brainage.model.networks.linear import TissueLinear


class PatchLinear(TissueLinear):
    """The mean age of overlapping patches, each a weighted sum of its amounts of tissue.

    After Bintsi et al. 2020 (MLCN, LNCS 12449:98-107), who train a network for the patches at each
    place. Here each place has a weighted sum of the local amounts of grey and white matter in its
    patch, fitted in closed form, which few people suffice for. The mean of these sums is one sum
    again, and that is what the network computes; the single ones are kept beside it.

    Parameters
    ----------
    shape, lower, width, n_bins, label_sd
        As those of :class:`.linear.TissueLinear`.
    block : int
        Voxels along each side of a block, in which tissue is summed up.
    window : int
        Blocks along each side of a patch.
    step : int
        Blocks from a patch to the next.
    """

    weights: torch.Tensor
    ages: torch.Tensor
    fitted: torch.Tensor

    def __init__(
        self,
        shape: Sequence[int],
        lower: float,
        width: float,
        n_bins: int,
        *,
        block: int = 4,
        window: int = 6,
        step: int = 2,
        label_sd: float = 3.0,
    ) -> None:
        super().__init__(shape, lower, width, n_bins, block=block, label_sd=label_sd)
        if window < 1 or step < 1 or window > min(self.grid):
            raise ValueError(f"window {window} and step {step} do not fit {list(self.grid)} blocks")
        self.block, self.window, self.step = block, window, step
        self.places = tuple((size - window) // step + 1 for size in self.grid)
        self.register_buffer("weights", torch.zeros(*self.places, 2 * window**3))
        self.register_buffer("ages", torch.zeros(self.places))
        self.register_buffer("fitted", torch.zeros(self.places))

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """Amounts of tissue in every patch, (N, *places, 2 * window ** 3), of (N, 1, D, H, W)."""
        maps = self._blocks(x)
        for axis in (2, 3, 4):
            maps = maps.unfold(axis, self.window, self.step)
        return maps.movedim(1, 4).flatten(4)

    def patch_ages(self, x: torch.Tensor) -> torch.Tensor:
        """Age (years) of every patch, float64, (N, *places); NaN where none was fitted."""
        found = (self.patches(x).double() * self.weights.double()).sum(dim=-1) + self.ages.double()
        return torch.where(self.fitted > 0, found, torch.nan)

    def set_patches(
        self, weights: NDArray[np.floating], ages: NDArray[np.floating], fitted: NDArray[np.bool_]
    ) -> None:
        """Put in the fitted weights of all places, and the ages of patches without tissue.

        Of shape (*places, 2 * window ** 3), `places` and `places`; years.
        """
        used = np.where(fitted[..., None], weights, 0.0)
        with torch.no_grad():
            self.weights.copy_(torch.from_numpy(used))
            self.ages.copy_(torch.from_numpy(np.where(fitted, ages, 0.0)))
            self.fitted.copy_(torch.from_numpy(fitted.astype(np.float32)))
        count = max(int(fitted.sum()), 1)
        total = np.zeros((2, *self.grid))
        size = self.window
        for place in zip(*np.nonzero(fitted), strict=True):
            corner = [self.step * int(n) for n in place]
            where = tuple(slice(n, n + size) for n in corner)
            total[(slice(None), *where)] += used[place].reshape(2, size, size, size)
        with torch.no_grad():
            self.sum.weight.copy_(torch.from_numpy(total / count).flatten()[None])
            self.sum.bias.fill_(float(ages[fitted].sum()) / count - self.middle)

    def spread_over_voxels(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Values of patches (*places) at every voxel, linearly between the middles of patches.

        Where a patch has no value (NaN) its neighbours count the more; NaN where none has one, and
        beyond the outermost middles the value there.
        """
        known = np.isfinite(values)
        shape = [size * self.block for size in self.grid]
        axes = [((np.arange(n) + 0.5) / self.block - self.window / 2) / self.step for n in shape]
        where = np.meshgrid(*axes, indexing="ij")
        total, weight = (
            ndimage.map_coordinates(part, where, order=1, mode="nearest")
            for part in (np.where(known, values, 0.0), known.astype(np.float64))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 1e-9, total / weight, np.nan).astype(np.float32)

    @property
    def edge(self) -> int:
        """Voxels along each side of a patch."""
        return self.window * self.block


def region_means(ages: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[int, float]:
    """Mean over the voxels of every region (label above 0) that have an age."""
    known = (labels > 0) & np.isfinite(ages)
    total = np.bincount(labels[known], ages[known].astype(np.float64))
    count = np.bincount(labels[known])
    return {int(index): float(total[index] / count[index]) for index in np.flatnonzero(count)}
