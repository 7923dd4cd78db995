"""Change of one person between two scans, and whether it is more than the error of measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

MIN_YEARS = 0.5  # between scans; less makes a change per year of noise

#: ``beyond`` or ``within`` what the error of measurement explains, or ``unknown``.
Reading: TypeAlias = Literal["beyond", "within", "unknown"]


@dataclass(frozen=True)
class Change:
    """What changed between two scans, in the units of the measure.

    Attributes
    ----------
    value : float
        Later minus earlier.
    years : float or None
        Between the scans; None where an age is not known.
    detectable : float or None
        Smallest change that is not explained by the error of measurement (two scans of a person in
        whom nothing changed differ less in 19 of 20 pairs); None where nobody measured it.
    """

    value: float
    years: float | None = None
    detectable: float | None = None

    @property
    def per_year(self) -> float | None:
        """Change per year; None for less than half a year."""
        if self.years is None or self.years < MIN_YEARS:
            return None
        return self.value / self.years

    @property
    def reading(self) -> Reading:
        """How the change compares with the error of measurement.

        Examples
        --------
        >>> Change(3.0, detectable=2.5).reading, Change(-1.0, detectable=2.5).reading
        ('beyond', 'within')
        >>> Change(30.0).reading
        'unknown'
        """
        if self.detectable is None:
            return "unknown"
        return "beyond" if abs(self.value) > self.detectable else "within"
