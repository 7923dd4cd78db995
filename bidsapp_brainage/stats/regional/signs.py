"""Whose sign holds whatever replaces a region, in a person and over people.

What is tested over people is not chosen by what is tested: every region is in the family of the
corrections, and the test of a sign that is the same with every baseline is one of its own
(intersection-union: Berger 1982, Technometrics 24:295; the conjunction null of Nichols et al. 2005,
NeuroImage 25:653).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.explanation_columns import NEGLIGIBLE_YEARS
from bidsapp_brainage.stats.intervals import Floats
from bidsapp_brainage.stats.regional.matrices import by_baseline, first_matrix

N_LEADING = 20
Sign: TypeAlias = Literal["stable", "opposite", "uncertain", "negligible"]
"""What is known of the sign of a contribution over all baselines.

``stable``: the same and certain with every baseline; ``opposite``: certainly negative with one and
certainly positive with another; ``uncertain``: neither; ``negligible``: not stable, and below
``NEGLIGIBLE_YEARS`` with every baseline. A sign is certain where the contribution is larger than
its standard deviation over the members of the ensemble.
"""


def signs(
    rows: pd.DataFrame,
    *,
    value: str = "delta_age",
    spread: str = "delta_age_sd_members",
    by: Sequence[str] = ("index",),
) -> pd.Series:
    """Judge the sign of every region's contribution over baselines.

    Parameters
    ----------
    rows : DataFrame
        One row for each region and baseline: ``index``, ``baseline``, `value` and, where it is
        known, `spread` (both in years). Without spread every sign but that of 0 is certain.
    value, spread : str
        Columns of the contribution and of its SD over the members of the ensemble.
    by : sequence of str
        Columns that name what has a sign, for example ``scan`` and ``index``.

    Returns
    -------
    Series of :data:`Sign`
        By the columns `by`, in the order of the rows; None for regions with fewer than two
        baselines.

    Examples
    --------
    >>> rows = pd.DataFrame({"index": [1, 1, 2, 2], "baseline": ["mean", "blur"] * 2})
    >>> signs(rows.assign(delta_age=[2.0, 0.5, 1.0, -0.5])).to_dict()
    {1: 'stable', 2: 'opposite'}
    """
    values = _wide(rows, value, by)
    spreads = _wide(rows, spread, by) if spread in rows else values * np.nan
    told = _told(values.to_numpy(dtype=np.float64), spreads.to_numpy(dtype=np.float64))
    known, positive, negative, small = (part.sum(axis=1) for part in told)
    found = pd.Series("uncertain", index=values.index, dtype=object)
    found[small == known] = "negligible"
    found[(positive > 0) & (negative > 0) & (found != "negligible")] = "opposite"
    found[(positive == known) | (negative == known)] = "stable"
    found[known < 2] = None
    return found


def all_baselines(rows: pd.DataFrame, others: pd.DataFrame | None) -> pd.DataFrame:
    """Contributions with every baseline, those of the main table first.

    Parameters
    ----------
    rows : DataFrame
        Main table: ``index``, ``baseline``, ``delta_age``.
    others : DataFrame or None
        The same with every baseline; left out where it has not these columns.
    """
    if others is None or not {"index", "baseline", "delta_age"} <= set(others):
        return rows
    more = others[~others["baseline"].isin(rows["baseline"])]
    return pd.concat([rows, more], ignore_index=True)


def _wide(rows: pd.DataFrame, column: str, by: Sequence[str]) -> pd.DataFrame:
    """Regions by baselines, in the order of the rows."""
    numbers = rows.assign(**{column: pd.to_numeric(rows[column], errors="coerce")})
    wide = numbers.groupby([*by, "baseline"], sort=False)[column].first().unstack()
    first = rows[[*by]].drop_duplicates()
    order = first[by[0]] if len(by) == 1 else pd.MultiIndex.from_frame(first)
    return wide.reindex(order)


def is_stable(sign: pd.Series) -> pd.Series:
    """Column ``stable`` of tables: True, False, or None where there is nothing to say."""
    words = {"stable": True, "opposite": False, "uncertain": False}
    return sign.map(words).astype(object).where(sign.isin(words), None)


def same_sign(values: pd.DataFrame) -> pd.Series:
    """Whether estimates (rows by baselines) have one sign; None with fewer than two.

    An estimate of 0 has the sign of no other.
    """
    known = values.notna().sum(axis=1)
    same = ((values > 0).sum(axis=1) == known) | ((values < 0).sum(axis=1) == known)
    return same.astype(object).where(known >= 2, None)


def _told(values: Floats, spreads: Floats) -> tuple[NDArray[np.bool_], ...]:
    """Which contributions are known, certainly positive, certainly negative, negligible."""
    size = np.abs(values)
    certain = size > np.nan_to_num(spreads)
    known = np.isfinite(values)
    return known, certain & (values > 0), certain & (values < 0), size < NEGLIGIBLE_YEARS


def share_stable(*tables: pd.DataFrame | None) -> pd.Series:
    """Share of participants whose own contribution has a stable sign, by ``index``.

    Of those whose sign could be judged, scans of one person averaged; NaN where nobody's could.

    Parameters
    ----------
    *tables : DataFrame or None
        As for :func:`signs`, with ``participant_id`` and ``scan``; no baseline in two of them.
    """
    parts = [rows for _, rows in by_baseline(*tables)]
    scans = pd.concat([rows[["scan", "participant_id"]].drop_duplicates() for rows in parts])
    person = scans.astype(object).drop_duplicates("scan").set_index("scan")["participant_id"]
    index = pd.Index(np.unique(np.concatenate([rows["index"].unique() for rows in parts])))
    counts = np.zeros((4, len(person), len(index)), dtype=np.int8)
    for rows in parts:
        values, spreads = (
            first_matrix(rows, "scan", "index", name)
            .reindex(index=person.index, columns=index)
            .to_numpy()
            if name in rows
            else np.full(counts.shape[1:], np.nan)
            for name in ("delta_age", "delta_age_sd_members")
        )
        for count, told in zip(counts, _told(values, spreads), strict=True):
            count += told
    known, positive, negative, small = counts
    stable = (positive == known) | (negative == known)
    judged = np.where((known < 2) | (~stable & (small == known)), np.nan, stable)
    table = pd.DataFrame(judged, index=person.index, columns=index.rename("index"))
    return table.groupby(person.to_numpy()).mean().mean()


def conjunction(means: pd.DataFrame, p: pd.DataFrame) -> pd.Series:
    """Two-sided p that a mean has the same sign with every baseline.

    Parameters
    ----------
    means, p : DataFrame
        Regions by baselines: mean over participants, and its two-sided p against zero.

    Returns
    -------
    Series
        The largest p where all means have the same sign, else 1; NaN with fewer than two baselines
        or where a p is not known.
    """
    same = same_sign(means)
    largest = p.max(axis=1, skipna=False)
    tested = same.notna() & largest.notna()
    return largest.where(same.eq(True), 1.0).where(tested)


@dataclass(frozen=True)
class Verdict:
    """What holds under all baselines and explanations, and what does not.

    Attributes
    ----------
    baselines : tuple of str
        That of the contributions that are shown is the first.
    counts : dict
        By :data:`Sign`, the number of leading regions.
    strongest : int or None
        Label of the region with the largest contribution; None where nothing is known.
    strongest_stable : int or None
        Label of the strongest of those whose sign is stable.
    agreement : tuple of (str, float)
        Other explanations, and the Spearman correlation over regions of their contributions with
        those that are shown.
    """

    baselines: tuple[str, ...]
    counts: dict[Sign, int]
    strongest: int | None
    strongest_stable: int | None
    agreement: tuple[tuple[str, float], ...]

    @property
    def n_leading(self) -> int:
        """Leading regions whose sign was judged."""
        return sum(self.counts.values())


def verdict(
    rows: pd.DataFrame,
    agreement: pd.DataFrame | None = None,
    *,
    value: str = "delta_age",
    spread: str = "delta_age_sd_members",
) -> Verdict:
    """Sum up how far the leading regions and the order of all regions can be trusted.

    Parameters
    ----------
    rows : DataFrame
        See :func:`signs`; the baseline of the first row is the main one. Regions that lead are the
        ``N_LEADING`` with the largest contribution with it.
    agreement : DataFrame, optional
        ``explanation_a``, ``explanation_b`` and ``spearman``, one row per pair.
    value, spread : str
        Columns of `rows`.

    Examples
    --------
    >>> rows = pd.DataFrame({"index": [1, 2, 1, 2], "baseline": ["mean"] * 2 + ["blur"] * 2})
    >>> rows = rows.assign(delta_age=[3.0, 2.0, -3.0, 2.0], delta_age_sd_members=0.5)
    >>> found = verdict(rows)
    >>> found.strongest, found.strongest_stable, found.counts["opposite"]
    (1, 2, 1)
    """
    baselines = tuple(dict.fromkeys(rows["baseline"].dropna().astype(str)))
    main = rows[rows["baseline"].isin(baselines[:1])].drop_duplicates("index").set_index("index")
    size = pd.to_numeric(main[value], errors="coerce").abs().dropna()
    order = size.sort_values(ascending=False, kind="stable").index
    judged = signs(rows, value=value, spread=spread).reindex(order)
    stable = judged.index[judged == "stable"]
    counts = judged.head(N_LEADING).value_counts()
    words: tuple[Sign, ...] = ("stable", "opposite", "uncertain", "negligible")
    return Verdict(
        baselines,
        {word: int(counts.get(word, 0)) for word in words},
        strongest=_first(order),
        strongest_stable=_first(stable),
        agreement=_with_main(agreement, f"occlusion_{baselines[0]}") if baselines else (),
    )


def _first(labels: pd.Index) -> int | None:
    return int(labels[0]) if len(labels) else None


def _with_main(agreement: pd.DataFrame | None, main: str) -> tuple[tuple[str, float], ...]:
    """Rank correlations of the main explanation with every other that has a sign."""
    if agreement is None or agreement.empty:
        return ()
    found: dict[Hashable, float] = {}
    for row in agreement.dropna(subset=["spearman"]).to_dict("records"):
        names = [row["explanation_a"], row["explanation_b"]]
        if main in names:
            names.remove(main)
            found[names[0]] = float(row["spearman"])
    return tuple((str(name), value) for name, value in found.items())
