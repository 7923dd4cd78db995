"""What the numbers that a network gives out mean: heads, their codings, and how to decode them.

A network gives a vector of numbers per volume. A card's ``output`` says how to read it: as one
head (then its name is ``age``), or as several heads by name that take consecutive slices of the
vector in the order in which the card lists them. One of them is explained (:func:`main_head`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bidsapp_brainage.catalogue.quantity import AGE, PERCENT, Quantity

if TYPE_CHECKING:
    from torch import Tensor

Coding = Literal["bins", "scalar", "ranks", "classes"]


@dataclass(frozen=True)
class Head:
    """One quantity that a network predicts.

    Attributes
    ----------
    name : str
        ``age``, ``sex``, a column of participants.tsv ...
    coding : {"bins", "scalar", "ranks", "classes"}
        ``bins``: logits over equal bins; ``scalar``: one number; ``ranks``: a logit per step
        whether the value lies above it (Niu 2016, CVPR); ``classes``: logits over classes.
    unit : str
        Of the decoded value; empty where it has none.
    lower, width : float
        Bins: lower edge of the first bin, and the width of each. Ranks: the value below the first
        step, and the height of each step.
    n_bins, n_ranks : int
        How many bins, or steps.
    scale, offset : float
        Scalar: value = output * scale + offset.
    clip : tuple of two floats, or None
        Scalar: bounds of the value.
    classes : tuple of str
        Classes: their names.
    explained : str
        Classes: the one whose probability is explained; empty: the last.
    """

    name: str
    coding: Coding
    unit: str = ""
    lower: float = 0.0
    width: float = 1.0
    n_bins: int = 0
    n_ranks: int = 0
    scale: float = 1.0
    offset: float = 0.0
    clip: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()
    explained: str = ""

    @property
    def quantity(self) -> Quantity:
        """What is explained: the value of :meth:`decode` times :attr:`explained_scale`."""
        unit = PERCENT if self.coding == "classes" else self.unit
        return Quantity(self.name, self.explained_class, unit)

    @property
    def explained_class(self) -> str:
        """The class whose probability is explained: the last, unless the card names another."""
        return self.explained or (self.classes[-1] if self.classes else "")

    @property
    def n_outputs(self) -> int:
        """How many of the network's numbers belong to this head."""
        numbers = {"bins": self.n_bins, "ranks": self.n_ranks, "classes": len(self.classes)}
        return numbers.get(self.coding, 1)

    @property
    def bin_lower(self) -> np.ndarray:
        """Lower edges of the bins, float64, shape (n_bins,); empty for other codings."""
        return np.asarray(self.lower + self.width * np.arange(self.n_bins, dtype=np.float64))

    @property
    def bin_centers(self) -> np.ndarray:
        """Centres of the bins, float64, shape (n_bins,); empty for other codings."""
        return np.asarray(self.bin_lower + self.width / 2)

    def decode(self, raw: Tensor) -> tuple[Tensor | None, Tensor]:
        """Turn the network's numbers into a distribution and a value.

        Parameters
        ----------
        raw : Tensor, shape (N, n_outputs)
            This head's slice of the network's output.

        Returns
        -------
        probabilities : Tensor of float64, shape (N, n_outputs), or None
            Over bins or classes; None for scalars and ranks, which have no distribution.
        value : Tensor of float64, shape (N,)
            Bins: mean of the distribution; scalar: the scaled and clipped number; ranks: lower
            end plus the steps that are more likely passed than not; classes: the probability of
            the class that is explained.
        """
        import torch

        if self.coding == "scalar":
            value = raw.double()[:, 0] * self.scale + self.offset
            return None, value if self.clip is None else value.clamp(*self.clip)
        if self.coding == "ranks":
            return None, self.lower + self.width * (raw > 0).sum(dim=1).double()
        probabilities = torch.softmax(raw.double(), dim=-1)
        if self.coding == "classes":
            return probabilities, probabilities[:, self.classes.index(self.explained_class)]
        return probabilities, probabilities @ torch.from_numpy(self.bin_centers).to(raw.device)

    @property
    def explained_scale(self) -> float:
        """By what the value of :meth:`decode` is multiplied where it is explained.

        Probabilities are told in percent: changes of them are then about as large as years of
        age, and so are the limits below which they do not count.
        """
        return 100.0 if self.coding == "classes" else 1.0


def heads(output: Mapping[str, Any]) -> tuple[Head, ...]:
    """Read a card's ``output``, which the schema has already accepted.

    Parameters
    ----------
    output : mapping
        One head's fields, or ``{"heads": {name: fields, ...}}``.
    """
    if "heads" in output:
        return tuple(_head(name, fields) for name, fields in output["heads"].items())
    return (_head(AGE, output),)


def main_head(parts: Sequence[Head]) -> Head:
    """The head that is explained: the age, or the first one where there is no age."""
    return next((head for head in parts if head.name == AGE), parts[0])


def n_outputs(parts: Sequence[Head]) -> int:
    """Length of the vector that a network with these heads gives."""
    return sum(head.n_outputs for head in parts)


def split(parts: Sequence[Head], raw: Tensor) -> dict[str, Tensor]:
    """Each head's slice of a network's output.

    Parameters
    ----------
    parts : sequence of Head
    raw : Tensor, shape (N, n_outputs)

    Raises
    ------
    ValueError
        The vector has another length than the heads together.
    """
    if raw.ndim != 2 or raw.shape[1] != n_outputs(parts):
        raise ValueError(
            f"the network gives an output of shape {tuple(raw.shape)}, but the heads "
            f"{', '.join(head.name for head in parts)} need (N, {n_outputs(parts)})"
        )
    slices = raw.split([head.n_outputs for head in parts], dim=1)
    return {head.name: part for head, part in zip(parts, slices, strict=True)}


@dataclass(frozen=True)
class Answer:
    """What the networks of an ensemble say about one head.

    Attributes
    ----------
    head : Head
    values : ndarray of float64, shape (n_members,)
        Of :meth:`Head.decode`, each the mean over the views of the volume.
    probabilities : ndarray of float64, shape (n_members, n)
        Over bins or classes; n is 0 where there are none.
    """

    head: Head
    values: np.ndarray
    probabilities: np.ndarray


def answers(parts: Sequence[Head], raw: Tensor) -> dict[str, Answer]:
    """Decode what all members say about all views of a volume.

    Parameters
    ----------
    parts : sequence of Head
    raw : Tensor, shape (n_views, n_members, n_outputs)

    Raises
    ------
    ValueError
        The networks give vectors of another length than the heads together.
    """
    n_views, n_members = raw.shape[:2]
    found = {}
    for head, own in zip(parts, split(parts, raw.flatten(0, 1)).values(), strict=True):
        probabilities, values = head.decode(own)
        if probabilities is None:
            probabilities = values.new_zeros((len(values), 0))
        values, probabilities = (
            array.unflatten(0, (n_views, n_members)).mean(dim=0).cpu().numpy()
            for array in (values, probabilities)
        )
        found[head.name] = Answer(head, values, probabilities)
    return found


def _head(name: str, fields: Mapping[str, Any]) -> Head:
    known = {key: value for key, value in fields.items() if key not in ("clip", "classes")}
    clip = fields.get("clip")
    return Head(
        name=name,
        clip=None if clip is None else (float(clip[0]), float(clip[1])),
        classes=tuple(fields.get("classes", ())),
        **known,
    )
