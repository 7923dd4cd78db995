"""What shall be predicted: ``age,sex,bmi:scalar`` as heads of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.training.data.cohort import Cohort

KINDS = ("bins", "scalar", "binary", "classes")
N_BINS = 40  # of a number that shall be predicted over bins, as in Peng 2021
FEW_VALUES = 5  # a numeric column with no more values than these holds classes


@dataclass(frozen=True)
class Target:
    """A column of the participants table and how it is coded."""

    name: str
    kind: str = ""  # one of KINDS; empty: by what the column holds


def parse_targets(text: str) -> tuple[Target, ...]:
    """Read ``NAME[:KIND][,NAME[:KIND]...]``.

    Raises
    ------
    UsageError
        A kind is unknown, or a name is empty or occurs twice.
    """
    targets = []
    for part in text.split(","):
        name, _, kind = part.strip().partition(":")
        if not name or kind not in ("", *KINDS):
            raise UsageError(f"`target` '{part}': use NAME or NAME:KIND with {', '.join(KINDS)}.")
        targets.append(Target(name, kind))
    if len({target.name for target in targets}) < len(targets):
        raise UsageError(f"`target` {text} names a column twice.")
    return tuple(targets)


def make_output(
    targets: tuple[Target, ...], cohort: Cohort, age_bins: dict[str, Any]
) -> dict[str, Any]:
    """``output`` of a card for these targets.

    The cohort decides about classes, and about the range of numbers; `age_bins` is the coding of
    age in the recipe's card.

    Raises
    ------
    DataError
        A column does not hold what the target says.
    """
    heads = {target.name: _head(target, cohort, age_bins) for target in targets}
    return heads["age"] if list(heads) == ["age"] else {"heads": heads}


def _head(target: Target, cohort: Cohort, age_bins: dict[str, Any]) -> dict[str, Any]:
    kind = target.kind or _guess(target.name, cohort)
    if kind in ("binary", "classes"):
        return _classes(target, kind, cohort)
    values = cohort.values(target.name)
    known = values[np.isfinite(values)]
    if known.size < 2 or np.ptp(known) == 0:
        raise DataError(f"`target` {target.name}: the column holds no numbers that differ.")
    unit = "year" if target.name == "age" else "1"
    if kind == "scalar":
        spread, middle = round(float(known.std()), 6), round(float(known.mean()), 6)
        return {"coding": "scalar", "scale": spread, "offset": middle, "unit": unit}
    if target.name == "age" and age_bins.get("coding") == "bins":
        return dict(age_bins)
    # a tenth of the range on either side, for people beyond those trained on
    width = round(1.2 * float(np.ptp(known)) / N_BINS, 6)
    lower = round(float(known.min() - 0.1 * np.ptp(known)), 6)
    return {"coding": "bins", "lower": lower, "width": width, "n_bins": N_BINS, "unit": unit}


def _classes(target: Target, kind: str, cohort: Cohort) -> dict[str, Any]:
    texts = [text for text in cohort.texts(target.name) if text is not None]
    labels = sorted(set(texts))
    if kind == "binary" and len(labels) != 2:
        raise DataError(
            f"`target` {target.name}:binary: the column has {len(labels)} values "
            f"({', '.join(labels[:6])}), not 2."
        )
    if not 2 <= len(labels) <= 20:
        raise DataError(
            f"`target` {target.name}: {len(labels)} classes; 2 to 20 can be learnt. "
            f"For a number say {target.name}:scalar."
        )
    return {"coding": "classes", "classes": labels}


def _guess(name: str, cohort: Cohort) -> str:
    if name == "age":
        return "bins"
    texts = {text for text in cohort.texts(name) if text is not None}
    numbers = cohort.values(name)
    numeric = bool(texts) and bool(np.isfinite(numbers).any())
    return "scalar" if numeric and len(texts) > FEW_VALUES else "classes"
