"""What is explained: an age, another number, or the probability of a class; and words for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .cards import Column

AGE = "age"
PERCENT = "percent"
YEAR = "year"


@dataclass(frozen=True)
class Quantity:
    """The quantity whose changes an explanation shows.

    Tables of all models have the same columns (``delta_age`` and others), and pages the same
    sentences, which speak of an age. For other quantities their words are replaced here.

    Attributes
    ----------
    target : str
        Name of the head on the model's card.
    label : str
        The class whose probability it is; empty for numbers.
    unit : str
        ``year``, ``percent`` for probabilities, or that of the card.
    """

    target: str = AGE
    label: str = ""
    unit: str = YEAR

    @property
    def is_age(self) -> bool:
        """Whether it is the age."""
        return self.target == AGE

    @property
    def noun(self) -> str:
        """Words for it: ``age``, ``bmi``, ``probability of sex M``."""
        return f"probability of {self.target} {self.label}" if self.label else self.target

    @property
    def title(self) -> str:
        """Words for titles of pages, before "of"."""
        return "Brain age" if self.is_age else f"Predicted {self.noun}"

    @property
    def units(self) -> str:
        """Words for differences of it."""
        if self.is_age:
            return "years"
        if self.label:
            return "percentage points"
        return f"units of {self.target}" if self.unit == "1" else self.unit

    @property
    def fact(self) -> str:
        """Name of the fact of sidecars that tells its value in the image as it is."""
        return "PredictedAge" if self.is_age else "PredictedValue"

    def worded(self, text: str) -> str:
        """A text that speaks of the predicted age, for this quantity."""
        if self.is_age:
            return text
        # a class may be called as it likes, and a backslash means something to re.sub
        noun, units = (word.replace("\\", r"\\") for word in (self.noun, self.units))
        for pattern, words in _WORDS:
            text = re.sub(pattern, words.format(noun=noun, units=units), text)
        return text

    def described(self, column: Column) -> Column:
        """A column of an explanation, for this quantity; ages of people stay what they are."""
        if self.is_age or column.name.startswith("age"):
            return column
        return replace(
            column,
            long_name=self.worded(column.long_name),
            description=self.worded(column.description),
            units=column.units.replace(YEAR, self.unit),
        )

    def facts(self) -> dict[str, str]:
        """What sidecars say of it."""
        told = {"Target": self.target, "Class": self.label, "Unit": self.unit}
        return {name: value for name, value in told.items() if value}

    @classmethod
    def from_model(cls, model: object) -> Quantity:
        """Read the object ``Model`` of a sidecar; the age where it tells of nothing else."""
        told = model.get("Explained") if isinstance(model, Mapping) else None
        if not isinstance(told, Mapping):
            return cls()
        return cls(*(str(told.get(name, "")) for name in ("Target", "Class", "Unit")))


AN_AGE = Quantity()

#: Words about an age, and what stands for them; the first that match are replaced first. What is
#: emphasised on a page may stand in an element.
_WORDS = (
    (r"\b([Pp])redicted age\b", r"\1redicted {noun}"),
    (r"\b([Aa])ge predicted again\b", "{noun} predicted again"),
    (r"\bthe age falls\b", "it falls"),
    (r"\bage of this one\b", "{noun} of this one"),
    (r"\bchange of (the )?age\b", "change of the {noun}"),
    (r"\blook(s?)\s+(<span[^>]*>)?older\b", r"score\1 \2higher"),
    (r"\blook(s?)\s+(<span[^>]*>)?younger\b", r"score\1 \2lower"),
    (r"\bblue( ones|:) younger\b", r"blue\1 lower"),
    (r"\byears/ml\b", "{units} per ml"),
    (r"\byears\b", "{units}"),
)
