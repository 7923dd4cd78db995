"""All outputs of the app, wherever they lie."""

from __future__ import annotations

from . import dataset, group_atlases, group_models, participant
from .cards import Output
from .lookup import map_figures, method_outputs

OUTPUTS: tuple[Output, ...] = (
    *participant.OUTPUTS,
    *method_outputs(),
    *map_figures(),
    *group_models.TABLES,
    *group_atlases.TABLES,
    *dataset.OUTPUTS,
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
