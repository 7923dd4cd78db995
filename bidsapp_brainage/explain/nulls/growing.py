"""Connected pieces of a mask that grow from random voxels.

A set of voxels is a whole number with one bit for each voxel of a cube. Moving it by a voxel is a
shift, so that a piece grows on all sides by six shifts, whatever its size.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.geometry import Patch

ELONGATION = 0.3  # SD of the log axes of parcels: the longest is about twice the shortest
N_SHAPES = 8
SMALLEST_CUBE = 4  # half its side, voxels
ROOM = 1.4  # half the side of the first cube over the radius of a ball of the parcel's size
CUBE_GROWTH = 1.25


@dataclass
class _Cube:
    """A cube of voxels with ellipsoids about its middle; its outermost voxels are in none."""

    half: int
    metric: NDArray[np.float64]
    _balls: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        axis = np.arange(-self.half, self.half + 1, dtype=np.float32)
        (xx, xy, xz), (_, yy, yz), (_, _, zz) = self.metric.astype(np.float32)
        x, y, z = axis[:, None, None], axis[:, None], axis
        square = (xx * x * x + yy * y * y + zz * z * z) + 2 * (xy * x * y + xz * x * z + yz * y * z)
        self.distance = np.sqrt(np.maximum(square, 0)).ravel()
        self.n_balls = int(self.distance.max()) + 2

    @property
    def side(self) -> int:
        """Voxels along each side."""
        return 2 * self.half + 1

    def ball(self, radius: int) -> int:
        """Voxels whose distance from the middle is at most `radius`."""
        if radius not in self._balls:
            self._balls[radius] = as_bits(self.distance <= radius)
        return self._balls[radius]

    def touched(self, piece: int) -> int:
        """A piece with all voxels that touch it by a face."""
        row, plane = self.side, self.side**2
        return (
            piece | piece << 1 | piece >> 1 | piece << row | piece >> row
            | piece << plane | piece >> plane
        )  # fmt: skip


class Grower:
    """Grows connected pieces in a mask.

    Voxels are taken ball by ball about the first one, among those that touch the piece by a face.
    Balls are random ellipsoids, because regions are no balls either; inside a folded ribbon the
    piece follows the ribbon.

    Parameters
    ----------
    allowed : ndarray of bool, shape (D, H, W)
        Where pieces may lie; voxels are taken to be cubes.
    rng : Generator

    Attributes
    ----------
    largest : int
        Voxels of the largest connected part of the mask.
    """

    def __init__(self, allowed: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self._allowed = np.asarray(allowed, dtype=bool)
        self._rng = rng
        parts, n = ndimage.label(self._allowed)
        sizes = np.bincount(parts.ravel(), minlength=n + 1)
        sizes[0] = 0
        self.largest = int(sizes.max(initial=0))
        places = np.flatnonzero(self._allowed)
        size_of_part = sizes[parts.ravel()[places]]
        order = np.argsort(size_of_part, kind="stable")
        self._places, self._part_sizes = places[order], size_of_part[order]
        self._metrics = [_random_ellipsoid(rng) for _ in range(N_SHAPES)]
        self._cubes: dict[tuple[int, int], _Cube] = {}
        self._padded: dict[int, NDArray[np.bool_]] = {}

    def parcel(self, n_voxels: int) -> Patch:
        """A piece of exactly `n_voxels` voxels, at least 1, about a random voxel.

        Raises
        ------
        UsageError
            The size is below 1, or no connected part of the mask is that large.
        """
        if not 1 <= n_voxels <= self.largest:
            raise UsageError(
                f"A parcel needs at least 1 voxel and here at most {self.largest}, not {n_voxels}."
            )
        first = np.searchsorted(self._part_sizes, n_voxels)
        place = self._places[self._rng.integers(first, len(self._places))]
        seed = np.unravel_index(int(place), self._allowed.shape)
        shape = int(self._rng.integers(N_SHAPES))
        half = _half(n_voxels)
        while True:
            cube = self._cube(half, shape)
            grown = _grown(cube, self._window(seed, half), n_voxels)
            if grown is not None:
                return _patch_of(grown, cube, seed)
            half = int(half * CUBE_GROWTH)

    def _cube(self, half: int, shape: int) -> _Cube:
        if (half, shape) not in self._cubes:
            self._cubes[half, shape] = _Cube(half, self._metrics[shape])
        return self._cubes[half, shape]

    def _window(self, seed: tuple[np.intp, ...], half: int) -> int:
        """The mask in the cube about a voxel, without the cube's outermost voxels."""
        inner = half - 1
        if half not in self._padded:
            self._padded[half] = np.pad(self._allowed, inner)
        part = self._padded[half][tuple(slice(int(k), int(k) + 2 * inner + 1) for k in seed)]
        return as_bits(np.pad(part, 1).ravel())


def _half(n_voxels: int) -> int:
    """Half the side of a cube that holds most pieces of a size; one of a few, which are kept."""
    radius = (3 * n_voxels / (4 * np.pi)) ** (1 / 3)
    half = SMALLEST_CUBE
    while half < ROOM * radius + 2:
        half = int(half * CUBE_GROWTH)
    return half


def _grown(cube: _Cube, allowed: int, n_voxels: int) -> NDArray[np.bool_] | None:
    """A piece about the middle of a cube (its voxels, flat); None where the cube is too small."""
    piece = 1 << (cube.side**3 // 2)
    radii = range(cube.n_balls)
    # A ball with fewer voxels of the mask holds no piece of the size.
    first = bisect_left(radii, n_voxels, key=lambda r: (allowed & cube.ball(r)).bit_count())
    if first > 0:
        piece = _filled(cube, piece, allowed & cube.ball(first - 1))
    for radius in radii[first:]:
        inside, before = allowed & cube.ball(radius), piece
        piece = _filled(cube, piece, inside)
        if piece.bit_count() >= n_voxels:
            return _counted(cube, inside, before, n_voxels)
    return None


def _filled(cube: _Cube, piece: int, inside: int) -> int:
    """A piece with all voxels of a set that a path in the set joins with it."""
    while (larger := cube.touched(piece) & inside) != piece:
        piece = larger
    return piece


def _counted(cube: _Cube, inside: int, piece: int, n_voxels: int) -> NDArray[np.bool_]:
    """A piece that grows until it has the right size."""
    smaller = 0
    while piece.bit_count() < n_voxels:
        smaller, piece = piece, cube.touched(piece) & inside
    return _cut(cube, smaller, piece, n_voxels)


def _cut(cube: _Cube, smaller: int, larger: int, n_voxels: int) -> NDArray[np.bool_]:
    """A smaller piece with the nearest of the voxels by which a larger one exceeds it."""
    # What was added last touches the smaller piece, so any of it may be left out.
    piece = as_array(smaller, cube)
    added = np.flatnonzero(as_array(larger & ~smaller, cube))
    nearest = np.argsort(cube.distance[added], kind="stable")
    piece[added[nearest[: n_voxels - smaller.bit_count()]]] = True
    return piece


def _patch_of(piece: NDArray[np.bool_], cube: _Cube, seed: tuple[np.intp, ...]) -> Patch:
    patch = Patch.of_mask(piece.reshape((cube.side,) * 3))
    assert patch is not None
    origin = tuple(int(k) - cube.half + o for k, o in zip(seed, patch.origin, strict=True))
    return Patch(origin, patch.box)


def as_bits(voxels: NDArray[np.bool_]) -> int:
    """A flat mask as a number, the first voxel as its lowest bit."""
    return int.from_bytes(np.packbits(voxels, bitorder="little").tobytes(), "little")


def as_array(bits: int, cube: _Cube) -> NDArray[np.bool_]:
    """The flat mask of a number."""
    n_voxels = cube.side**3
    raw = np.frombuffer(bits.to_bytes(-(-n_voxels // 8), "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=n_voxels, bitorder="little").astype(bool)


def _random_ellipsoid(rng: np.random.Generator) -> NDArray[np.float64]:
    """Matrix ``m`` of a squared distance ``x @ m @ x``."""
    axes = np.exp(ELONGATION * rng.standard_normal(3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray((turn / axes**2) @ turn.T)
