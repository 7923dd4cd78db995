"""All cards of the app, found by their keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from . import dataset, participant, ratings
from .baselines import BASELINES
from .cards import Baseline, Family, Method, Output
from .group import atlases, clinical, longitudinal, models, raters
from .methods import METHODS


def method(key: str) -> Method:
    """The card of a method.

    Raises
    ------
    KeyError
        There is none.
    """
    return {card.key: card for card in METHODS}[key]


def baseline(key: str) -> Baseline:
    """The card of a baseline.

    Raises
    ------
    KeyError
        There is none.
    """
    return {card.key: card for card in BASELINES}[key]


def method_title(key: str) -> str:
    """Words for a method; the key itself where it is unknown."""
    return next((card.title for card in METHODS if card.key == key), key)


def baseline_title(key: str) -> str:
    """Words for a baseline; the key itself where it is unknown."""
    return next((card.title for card in BASELINES if card.key == key), key)


def explanation_title(name: str) -> str:
    """Words for an explanation as tables name it: its method, after ``_`` its baseline.

    Examples
    --------
    >>> explanation_title("occlusion_blur"), explanation_title("lrp")
    ('Occlusion (blurred brain)', 'Layer-wise relevance propagation')
    """
    method, _, baseline = name.partition("_")
    title = method_title(method)
    return f"{title} ({baseline_title(baseline)})" if baseline else title


def methods(family: Family) -> tuple[Method, ...]:
    """Cards of the methods of one family."""
    return tuple(card for card in METHODS if card.family == family)


def in_running_order(keys: Iterable[str]) -> list[str]:
    """Methods that read the tables of others come after them."""
    return sorted(keys, key=lambda key: method(key).reads_others)


def method_outputs() -> tuple[Output, ...]:
    """Outputs of all methods of explanation."""
    return tuple(output for card in METHODS for output in card.outputs)


def map_figures() -> tuple[Output, ...]:
    """Pictures of maps in the individual report; the key is that of the map and ``_figure``."""
    names = ("space", "desc")
    return tuple(
        replace(
            card,
            key=f"{card.key}_figure",
            extension=".svg",
            level="figures",
            entities=names,
            required=names,
        )
        for card in method_outputs()
        if card.drawn
    )


def voxel_maps() -> tuple[Output, ...]:
    """Maps of methods that explain every voxel; those of regions belong to an atlas."""
    return tuple(card for card in method_outputs() if not card.is_table)


def population_maps() -> tuple[Output, ...]:
    """Mean and standard error over people of the maps of all methods.

    The keys are those of the maps with the endings of :data:`~.dataset.OVER_PEOPLE`.
    """
    names = ("cohort", "res", "desc")
    return tuple(
        replace(
            card,
            key=card.key + ending,
            desc=card.desc + ending.removeprefix("_"),
            description=f"{text} over people of `*{card.desc.removeprefix('{model}')}_"
            f"{card.suffix}`, brought to the template; of everybody, and of age groups (`cohort`)",
            level="template",
            entities=names,
            required=names[1:],
            always=False,
            drawn="",
        )
        for card in voxel_maps()
        for ending, text in dataset.OVER_PEOPLE.items()
    )


OUTPUTS: tuple[Output, ...] = (
    *participant.OUTPUTS,
    *method_outputs(),
    *map_figures(),
    *models.TABLES,
    *clinical.TABLES,
    *longitudinal.TABLES,
    *raters.TABLES,
    *atlases.TABLES,
    *dataset.OUTPUTS,
    ratings.RATINGS,
    *population_maps(),
)


def output(key: str) -> Output:
    """The card of an output.

    Raises
    ------
    KeyError
        There is none.
    """
    return {card.key: card for card in OUTPUTS}[key]


def columns_of(key: str) -> list[str]:
    """Names of the columns of a table, in their order.

    Raises
    ------
    KeyError
        There is no such output.
    """
    return [column.name for column in output(key).columns]
