"""One scale of colours for contributions, in every picture of them.

A table of colours is made here once; the figures look it up, and the viewers of the pages get it
with their data. So the same number has the same colour in the slices, in the viewer, in the glass
brain and in the legends.
"""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap

OLDER, YOUNGER, PLAIN = (239, 72, 66), (60, 140, 245), (240, 178, 62)
STEPS = 255  # odd, so that one of them is 0
STRIPE_MM = 3.0  # width of the stripes over regions whose sign is not stable, and of the gaps
MID_GREY = 90.0  # anatomy under the colours of a legend
_LEAST, _SPAN = 0.12, 0.78  # opacity of the smallest value, and how much more the largest has


@functools.lru_cache(maxsize=2)
def table(*, signed: bool = True) -> np.ndarray:
    """Colours of values from -1 to 1, shape (255, 4): red, green, blue, opacity, uint8.

    The opacity grows with the root of the size, so that small values are seen; 0 is transparent.
    Values without a sign (negative ones do not occur) have a colour of their own.
    """
    share = np.linspace(-1, 1, STEPS)
    opacity = np.where(share == 0, 0.0, _LEAST + _SPAN * np.sqrt(np.abs(share)))
    positive = YOUNGER if signed else PLAIN
    colour = np.where((share < 0)[:, None], OLDER, positive)
    made = np.column_stack([colour, np.round(255 * opacity)]).astype(np.uint8)
    made.setflags(write=False)
    return made


def paint(grey: np.ndarray, share: np.ndarray, *, signed: bool = True) -> np.ndarray:
    """Blend the colours of values of -1..1 over grey of 0..255: both (H, W), result (H, W, 3).

    0 leaves the grey as it is, however small a value is not 0.
    """
    place = np.round((np.clip(share, -1, 1) + 1) / 2 * (STEPS - 1)).astype(int)
    middle = STEPS // 2
    place = np.where((place == middle) & (share != 0), middle + np.sign(share).astype(int), place)
    rgba = table(signed=signed)[place].astype(float)
    opacity = rgba[..., 3:] / 255
    return np.asarray(grey)[..., None] * (1 - opacity) + rgba[..., :3] * opacity


def legend(steps: int, *, signed: bool = True) -> list[str]:
    """Colours (#rrggbb) of a bar from the least to the largest value, over middle grey."""
    share = np.linspace(-1 if signed else 0, 1, steps)[None]
    bar = paint(np.full_like(share, MID_GREY), share, signed=signed)[0]
    return ["#" + "".join(f"{round(part):02x}" for part in colour) for colour in bar]


def packed(*, signed: bool) -> str:
    """The table for the viewer of a page: base64 of its bytes, row by row."""
    return base64.b64encode(table(signed=signed).tobytes()).decode()


def colour_map() -> ListedColormap:
    """The table for matplotlib, from the most negative to the most positive value."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(table() / 255, name="contributions")
