"""Levels of regions and sides of the brain: their keys and their words."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Words of the sides; the keys stand in the column ``hemisphere``.
SIDES = {"L": "left", "R": "right", "B": "both"}
_SIDE_OF_WORD = {"l": "L", "lh": "L", "left": "L", "r": "R", "rh": "R", "right": "R"}
# "Left Thalamus", "lh_V1", "SFG_L_7_1", "Insula-R", "7Networks_LH_Vis_1"
_SIDE_IN_NAME = re.compile(
    r"^(left|right)\b|(?:^|[_\-. ])(lh|rh|l|r|left|right)(?=$|[_\-. ])", re.IGNORECASE
)


@dataclass(frozen=True)
class Level:
    """A way to put regions together.

    Attributes
    ----------
    key : str
        Word of the column ``level``.
    title : str
        Words for reports.
    text : str
        What one group of this level is, for data dictionaries.
    """

    key: str
    title: str
    text: str


REGION = Level("region", "Region", "one region")
GROUPINGS: tuple[Level, ...] = (
    Level("network", "Network", "the regions of one network together"),
    Level("lobe", "Lobe", "the regions of one lobe together"),
    Level("gyrus", "Gyrus", "the regions of one gyrus together"),
    Level("hemisphere", "Hemisphere", "the regions of one hemisphere together"),
    Level("pair", "Left and right pair", "a region and its homologue of the other side together"),
    Level("compartment", "Tissue compartment", "the regions of one kind of tissue together"),
)
_MEAN = "_mean"
_TITLES = {level.key: level.title for level in (REGION, *GROUPINGS)}


def mean_level(key: str) -> str:
    """Word of the level for means over the regions of a group, each region occluded by itself."""
    return key + _MEAN


def is_mean_level(key: str) -> bool:
    """Whether this is a level of means over the regions of groups."""
    return key.endswith(_MEAN)


def group_level(key: str) -> str:
    """The level whose groups a level is about."""
    return key.removesuffix(_MEAN)


def level_title(key: str) -> str:
    """Words of a level for reports; the key itself where it is unknown."""
    title = _TITLES.get(group_level(key), key)
    return f"{title}, mean over its regions" if is_mean_level(key) else title


def level_meanings() -> dict[str, str]:
    """What every word of the column ``level`` means in the tables of a group."""
    single = "mean over the regions of one {}, each occluded by itself, weighted by volume"
    return {
        REGION.key: REGION.text,
        **{level.key: f"{level.text}, occluded as one" for level in GROUPINGS},
        **{mean_level(level.key): single.format(level.key) for level in GROUPINGS},
    }


def side_of_word(word: str) -> str | None:
    """L or R for a word that means a side (``lh``, ``Left``), else None."""
    return _SIDE_OF_WORD.get(word.strip().lower())


def side_of_name(name: str) -> str | None:
    """L or R if the name of a region says its side, else None.

    Examples
    --------
    >>> side_of_name("7Networks_LH_Vis_1"), side_of_name("Brainstem")
    ('L', None)
    """
    match = _SIDE_IN_NAME.search(name)
    return side_of_word(match[1] or match[2]) if match else None


def bare_name(name: str) -> str:
    """Name of a region without its side; the same for homologous regions.

    Examples
    --------
    >>> bare_name("Left precentral gyrus"), bare_name("SFG_L_7_1")
    ('precentral gyrus', 'SFG 7_1')
    """
    bare = _SIDE_IN_NAME.sub(" ", name, count=1).strip(" _-.")
    return re.sub(r" +[_\-.]?", " ", bare)
