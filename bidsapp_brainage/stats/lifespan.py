"""Contributions over age: natural cubic splines, tests of their shape, and age groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import make_interp_spline

from bidsapp_brainage.stats.intervals import MISS, Floats
from bidsapp_brainage.stats.linear import least_squares

SPLINE_DF = 3  # besides the intercept
MIN_PEOPLE = 20
MIN_SPAN = 10.0  # years
#: Age groups of He et al. 2025 (Human Brain Mapping 46:e70239), a description only.
AGE_EDGES = (8, 20, 30, 40, 50, 60, 70, 80)


@dataclass(frozen=True)
class Curve:
    """Spline of an outcome on age and the tests of its shape.

    Attributes
    ----------
    table : DataFrame
        ``age``, ``fitted``, ``lower``, ``upper`` (95 % band of the mean).
    f_age, p_age, f_nonlinear, p_nonlinear : float
        All age terms together against none; curvature against a straight line (HC3).
    slope, peak_age : float
        Slope of the straight line, per year; age of the largest absolute fitted value.
    """

    table: pd.DataFrame
    f_age: float
    p_age: float
    f_nonlinear: float
    p_nonlinear: float
    slope: float
    peak_age: float

    @property
    def concave(self) -> bool:
        """Whether the middle of the size of the curve lies above the line between its ends."""
        size = self.table["fitted"].abs().to_numpy()
        return bool(size[len(size) // 2] > (size[0] + size[-1]) / 2)


def spline_basis(age: NDArray[np.floating], knots: NDArray[np.floating]) -> Floats:
    """Basis of natural cubic splines at ages (n,): 1, age, and one column per inner knot, (n, k).

    A straight line is a combination of the first two columns, so that the rest tests curvature.
    There are at least three knots, increasing, and no age lies outside of them.
    """
    cardinal = make_interp_spline(knots, np.eye(len(knots)), k=3, bc_type="natural")(age)
    return np.column_stack([np.ones(len(age)), age - knots.mean(), cardinal[:, 1:-1]])


def curve(
    age: NDArray[np.floating], outcome: NDArray[np.floating], *, n_points: int = 25
) -> Curve | None:
    """Natural cubic spline of an outcome on age, at `n_points` from the youngest to the oldest.

    Age and outcome have shape (n_people,); people where either is NaN are left out. None for fewer
    than 20 people, an age range below ten years, ages that do not spread over the knots, or an
    outcome that does not vary.
    """
    known = np.isfinite(age) & np.isfinite(outcome)
    age, values = np.asarray(age[known], float), np.asarray(outcome[known], float)
    if len(age) < MIN_PEOPLE or np.ptp(age) < MIN_SPAN or np.ptp(values) == 0:
        return None
    knots = np.unique(np.quantile(age, np.linspace(0, 1, SPLINE_DF + 1)))
    if len(knots) < SPLINE_DF + 1:
        return None
    fit = least_squares(spline_basis(age, knots), values[:, None])
    places = range(SPLINE_DF + 1)
    (of_age, p_age), (of_curvature, p_curvature) = fit.joint(places[1:]), fit.joint(places[2:])
    grid = np.linspace(knots[0], knots[-1], n_points)
    basis = spline_basis(grid, knots)
    mean = basis @ fit.values[0]
    error = np.sqrt(np.einsum("ij,jk,ik->i", basis, fit.covariance[0], basis))
    half = float(stats.t.ppf(1 - MISS / 2, fit.freedom)) * error
    table = pd.DataFrame({"age": grid, "fitted": mean, "lower": mean - half, "upper": mean + half})
    return Curve(
        table=table,
        f_age=float(of_age[0]),
        p_age=float(p_age[0]),
        f_nonlinear=float(of_curvature[0]),
        p_nonlinear=float(p_curvature[0]),
        slope=float(np.polyfit(age, values, 1)[0]),
        peak_age=float(grid[np.argmax(np.abs(table["fitted"]))]),
    )


def age_group_names() -> tuple[str, ...]:
    """Names of the age groups of He et al. 2025, the youngest first."""
    return tuple(f"{low}-{high}" for low, high in zip(AGE_EDGES[:-1], AGE_EDGES[1:], strict=True))


def age_group(age: pd.Series) -> pd.Series:
    """Age group of He et al. 2025 as text, ``20-30``; missing outside of 8 to 80 years."""
    edges = [float(edge) for edge in AGE_EDGES]
    edges[-1] += 1e-9  # 80 belongs to the last group
    return pd.cut(age, edges, right=False, labels=age_group_names()).astype(object)
