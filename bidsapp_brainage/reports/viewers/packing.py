"""Volumes packed into a page: zlib streams as base64, which browsers unpack by themselves.

A page must be one file and work from ``file://``, where nothing can be fetched. Labels are stored
as they are. Grey levels are stored as differences from what their neighbours predict (the predictor
of JPEG-LS, Weinberger et al., 2000): a head then takes about two thirds of the bytes.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

_BEST = 9
_FOR_LABELS = 7  # takes half the time of 9 for three per cent of size


@dataclass(frozen=True)
class Packed:
    """A volume in the page.

    Attributes
    ----------
    identifier : str
        Unique within the page.
    data : str
        base64 of a zlib stream of little-endian unsigned integers, first axis fastest.
    width : int
        Bytes of a voxel: 1, 2 or 4.
    predicted : bool
        Differences from predictions (of bytes, modulo 256) instead of values.
    """

    identifier: str
    data: str
    width: int = 1
    predicted: bool = False


def pack_labels(identifier: str, labels: np.ndarray) -> Packed:
    """Pack labels (3D); what is negative becomes 0."""
    known = np.maximum(labels, 0)
    most = int(known.max(initial=0))
    width = next(size for size in (1, 2, 4) if most < 256**size)
    stream = zlib.compress(known.astype(f"<u{width}").tobytes(order="F"), _FOR_LABELS)
    return Packed(identifier, base64.b64encode(stream).decode(), width)


def pack_grey(identifier: str, levels: np.ndarray) -> Packed:
    """Pack grey levels (3D, uint8)."""
    # Runs and one code: longer matches are rare in noise, and looking for them takes long.
    packer = zlib.compressobj(_BEST, zlib.DEFLATED, zlib.MAX_WBITS, _BEST, zlib.Z_RLE)
    stream = packer.compress(_differences(levels).tobytes(order="F")) + packer.flush()
    return Packed(identifier, base64.b64encode(stream).decode(), predicted=True)


def _differences(levels: np.ndarray) -> np.ndarray:
    """Levels minus what the neighbours before them along the first two axes predict."""
    known = levels.astype(np.int16)
    left, up = _shifted(known, 0), _shifted(known, 1)
    corner = _shifted(up, 0)
    low, high = np.minimum(left, up), np.maximum(left, up)
    guess = np.where(corner >= high, low, np.where(corner <= low, high, left + up - corner))
    return ((known - guess) & 255).astype(np.uint8)


def _shifted(values: np.ndarray, axis: int) -> np.ndarray:
    """The neighbour before, 0 at the border."""
    moved = np.roll(values, 1, axis)
    moved[(slice(None),) * axis + (0,)] = 0
    return moved
