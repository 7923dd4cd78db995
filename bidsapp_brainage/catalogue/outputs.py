"""All outputs of the app, wherever they lie."""

from __future__ import annotations

from . import participant
from .cards import Output
from .lookup import method_outputs

OUTPUTS: tuple[Output, ...] = (*participant.OUTPUTS, *method_outputs())


def output(key: str) -> Output:
    """The card of an output.

    Raises
    ------
    KeyError
        There is none.
    """
    return {card.key: card for card in OUTPUTS}[key]
