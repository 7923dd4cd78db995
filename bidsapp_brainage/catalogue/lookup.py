"""Find cards by their keys."""

from __future__ import annotations

from .baselines import BASELINES
from .cards import Baseline, Method, Output
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


def method_outputs() -> tuple[Output, ...]:
    """Outputs of all methods of explanation."""
    return tuple(output for card in METHODS for output in card.outputs)
