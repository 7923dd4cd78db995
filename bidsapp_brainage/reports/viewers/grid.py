"""The part of an image that a page holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARGIN_VOXELS = 2


@dataclass(frozen=True)
class Grid:
    """A box of an image in RAS order, of which every `thin`-th voxel is kept along each axis.

    The affine leads from voxels of the image to millimetres.
    """

    first: tuple[int, int, int]
    shape: tuple[int, int, int]
    affine: np.ndarray
    thin: int = 1

    @classmethod
    def around(cls, used: np.ndarray, affine: np.ndarray, *, thin: int = 1) -> Grid:
        """Box around what is used (bool) with a margin of two voxels; all if nothing is."""
        first, shape = [], []
        for axis, size in enumerate(used.shape):
            there = np.flatnonzero(used.any(axis=tuple({0, 1, 2} - {axis})))
            low, high = (there[0], there[-1] + 1) if len(there) else (0, size)
            low = max(int(low) - MARGIN_VOXELS, 0)
            high = min(int(high) + MARGIN_VOXELS, size)
            first.append(low)
            shape.append(-(-(high - low) // thin))
        return cls((first[0], first[1], first[2]), (shape[0], shape[1], shape[2]), affine, thin)

    def cut(self, values: np.ndarray) -> np.ndarray:
        """What the page holds of an image on the same grid."""
        return values[
            tuple(
                slice(first, first + count * self.thin, self.thin)
                for first, count in zip(self.first, self.shape, strict=True)
            )
        ]

    def facts(self) -> dict[str, object]:
        """For the viewer: shape, sizes of voxels (mm), and where voxels lie in image and space."""
        to_image = np.diag([self.thin, self.thin, self.thin, 1.0])
        to_image[:3, 3] = self.first
        to_mm = self.affine @ to_image
        sizes = np.sqrt((to_mm[:3, :3] ** 2).sum(axis=0))
        return {
            "shape": list(self.shape),
            "sizes": [round(float(size), 4) for size in sizes],
            "first": list(self.first),
            "thin": self.thin,
            "affine": [[round(float(value), 4) for value in row] for row in to_mm[:3]],
        }
