"""Occluding regions one after another, and taking everything back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .ensemble import Fill, Occluder
from .predictions import Predictions


@contextmanager
def temporary_commits(occluder: Occluder) -> Iterator[Callable[[int, Fill], Predictions]]:
    """Yield the occluder's ``commit``; undo on leaving, also after an error, what it committed."""
    n_commits = 0

    def commit(region: int, fill: Fill) -> Predictions:
        nonlocal n_commits
        prediction = occluder.commit(region, fill)
        n_commits += 1
        return prediction

    try:
        yield commit
    finally:
        for _ in range(n_commits):
            occluder.undo()


def walk(occluder: Occluder, fill: Fill, order: Sequence[int]) -> Predictions:
    """Occlude regions one after another and take everything back.

    Parameters
    ----------
    occluder : Occluder
    fill : float or ndarray of shape (D, H, W)
    order : sequence of int
        Numbers of regions of the occluder.

    Returns
    -------
    Predictions
        ``len(order) + 1`` of them; the first is to the volume as it was.
    """
    with temporary_commits(occluder) as commit:
        predictions = [occluder.intact, *(commit(region, fill) for region in order)]
    return Predictions.joined(predictions)
