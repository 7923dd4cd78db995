"""Mean and spread of arrays that come one at a time, so that none of them is kept."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.stats.intervals import Floats


class RunningMean:
    """Mean and sum of squared deviations of arrays of one shape (Welford 1962).

    Attributes
    ----------
    n : int
        Arrays that were added.
    mean : ndarray of float64
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n = 0
        self.mean: Floats = np.zeros(shape)
        self._squares: Floats = np.zeros(shape)

    def add(self, values: NDArray[np.floating]) -> None:
        """Take one array into account."""
        self.n += 1
        difference = values - self.mean
        self.mean += difference / self.n
        self._squares += difference * (values - self.mean)

    @property
    def standard_error(self) -> Floats | None:
        """Standard deviation over the square root of n; None for fewer than two arrays."""
        if self.n < 2:
            return None
        return np.asarray(np.sqrt(self._squares / (self.n - 1) / self.n))

    @classmethod
    def merged(cls, parts: Iterable[RunningMean]) -> RunningMean:
        """What one would know of all arrays of several parts, at least one (Chan et al. 1979).

        Examples
        --------
        >>> import numpy as np
        >>> parts = [RunningMean(()), RunningMean(())]
        >>> parts[0].add(np.array(1.0)); parts[1].add(np.array(2.0)); parts[1].add(np.array(3.0))
        >>> whole = RunningMean.merged(parts)
        >>> whole.n, float(whole.mean), round(float(whole.standard_error), 3)
        (3, 2.0, 0.577)
        """
        parts = list(parts)
        whole = cls(parts[0].mean.shape)
        for part in parts:
            if not part.n:
                continue
            n = whole.n + part.n
            difference = part.mean - whole.mean
            whole._squares += part._squares + difference**2 * (whole.n * part.n / n)
            whole.mean += difference * (part.n / n)
            whole.n = n
        return whole
