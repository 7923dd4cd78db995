"""Terms of linear models of many outcomes on the same people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

PEOPLE_PER_TERM = 5
SMALL_SITE = 10  # people; smaller sites are pooled
SITES_FOR_MIXED = 6  # fewer do not determine the variance between sites
MOST_MISSING = 0.2  # share of people; a term of the app's own choice that lacks more is dropped
POOLED = "pooled"
GROUP_TERM = "group_"  # and the group: its term, against the reference
#: Terms that the app adds by itself, in the order in which a small sample gives them up.
OWN_TERMS = ("quality", "brain_volume", "age_squared", "site", "sex", "age")


@dataclass(frozen=True)
class Design:
    """Right-hand side of a linear model.

    Attributes
    ----------
    terms : DataFrame
        One row per participant, one column per term, without the intercept and sites.
    sites : Series or None
        Site of each participant, small ones pooled; None if the model has no sites.
    groups, reference
        Group of each participant, for standardised differences, and the one to compare with.
    formula : str
        The model in words.
    """

    terms: pd.DataFrame
    sites: pd.Series | None
    groups: pd.Series | None
    reference: str
    formula: str

    @property
    def mixed(self) -> bool:
        """Whether sites get a random intercept instead of fixed effects."""
        return self.sites is not None and self.sites.nunique() >= SITES_FOR_MIXED

    def matrix(self, rows: pd.Index, *, sites: bool = True) -> pd.DataFrame:
        """Intercept, terms and, if wanted, fixed effects of the sites for these participants."""
        matrix = self.terms.loc[rows].copy()
        matrix.insert(0, "intercept", 1.0)
        if sites and self.sites is not None:
            effects = pd.get_dummies(self.sites.loc[rows], prefix="site", dtype=float)
            matrix = matrix.join(effects.iloc[:, 1:])
        return _independent(matrix)


def make_design(
    people: pd.DataFrame, *, covariates: Sequence[str] = (), reference: str = ""
) -> tuple[Design | None, list[str]]:
    """Choose the terms that a sample supports; the notes say what was left out and why.

    There are at least five people for each coefficient; terms of the app's own choice are given up
    first. None if not even one term can be supported.

    Parameters
    ----------
    people : DataFrame
        One row per participant, indexed by ``participant_id``; of the columns ``age``, ``sex``,
        ``group``, ``site``, ``brain_volume`` and ``quality`` those that are known, and the
        covariates.
    covariates : sequence of str
        Columns to be added as they are; numbers per SD, text as categories.
    reference : str
        Reference group; empty for the most frequent one.
    """
    notes: list[str] = []
    wanted = [name for name in OWN_TERMS if _usable(people, name, notes)]
    asked = [name for name in ("group", *covariates) if _varies(people, name)]
    notes += [
        f"{name} does not vary in this sample: not in the models."
        for name in ("group", *covariates)
        if name in people and name not in asked
    ]
    complete = people
    while wanted or asked:
        sources = ["age" if name == "age_squared" else name for name in [*wanted, *asked]]
        complete = people.dropna(subset=list(dict.fromkeys(sources)))
        terms, sites = _terms(complete, [*wanted, *asked], reference)
        n_sites = 0 if sites is None or sites.nunique() >= SITES_FOR_MIXED else sites.nunique() - 1
        if len(complete) >= PEOPLE_PER_TERM * (1 + terms.shape[1] + n_sites):
            break
        if not wanted:
            notes.append(_too_few(complete, asked))
            return None, notes
        notes.append(
            f"Too few participants for {_words(wanted[0])} in the models ({len(complete)}; "
            f"{PEOPLE_PER_TERM} are needed for each coefficient)."
        )
        wanted = wanted[1:]
    else:
        notes.append("No linear models: nothing varies, or the sample is too small.")
        return None, notes
    return _design(people, complete, terms, sites, reference, notes)


def _design(
    people: pd.DataFrame,
    complete: pd.DataFrame,
    terms: pd.DataFrame,
    sites: pd.Series | None,
    reference: str,
    notes: list[str],
) -> tuple[Design | None, list[str]]:
    if len(complete) < len(people):
        notes.append(
            "Participants who lack a covariate and are not in the linear models: "
            f"{len(people) - len(complete)}."
        )
    if sites is not None and POOLED in set(sites):
        notes.append(f"Sites with fewer than {SMALL_SITE} participants were pooled in the models.")
    whole = terms.assign(intercept=1.0)[["intercept", *terms.columns]]
    kept = _independent(whole).columns[1:]
    notes += [
        f"{name} is a combination of other terms: not in the models."
        for name in terms
        if name not in kept
    ]
    if not len(kept):
        return None, notes
    shape = " + ".join(kept)
    if sites is not None:
        shape += " + (1|site)" if sites.nunique() >= SITES_FOR_MIXED else " + site"
    groups = complete["group"].astype(str) if "group" in complete else None
    named = reference_group(groups, reference) if groups is not None else ""
    return Design(terms[list(kept)], sites, groups, named, shape), notes


def _too_few(complete: pd.DataFrame, asked: Sequence[str]) -> str:
    return (
        f"No linear models: too few participants with known {', '.join(asked)} "
        f"({len(complete)}; {PEOPLE_PER_TERM} are needed for each coefficient)."
    )


def _words(name: str) -> str:
    """A term of the app's own choice in words."""
    return name.replace("_", " ")


def _varies(people: pd.DataFrame, name: str) -> bool:
    return name in people and people[name].dropna().nunique() > 1


def _usable(people: pd.DataFrame, name: str, notes: list[str]) -> bool:
    """Whether a term of the app's own choice is known and varies."""
    source = "age" if name == "age_squared" else name
    if not _varies(people, source):
        return False
    missing = float(people[source].isna().mean())
    if missing > MOST_MISSING:
        if name == source:
            notes.append(
                f"{_words(name)} is unknown for {missing:.0%} of the participants: not in models."
            )
        return False
    return True


def _terms(
    people: pd.DataFrame, names: Sequence[str], reference: str
) -> tuple[pd.DataFrame, pd.Series | None]:
    terms = pd.DataFrame(index=people.index)
    sites = None
    for name in sorted(names, key=_place):
        if name == "site":
            sites = pooled_sites(people["site"])
        elif name in ("age", "age_squared"):
            decades = (people["age"] - people["age"].mean()) / 10
            terms[name] = decades if name == "age" else decades**2
        elif pd.api.types.is_numeric_dtype(people[name]) and name not in ("sex", "group"):
            terms[name] = _scaled(people[name])
        else:
            terms = terms.join(_levels(people[name], name, reference if name == "group" else ""))
    return terms, sites


def _place(name: str) -> int:
    order = ("age", "age_squared", "sex", "group")
    return order.index(name) if name in order else len(order)


def _scaled(values: pd.Series) -> pd.Series:
    spread = values.std(ddof=1)
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def _levels(values: pd.Series, name: str, reference: str) -> pd.DataFrame:
    text = values.astype(str)
    indicator = pd.get_dummies(text, prefix=name, dtype=float)
    return indicator.drop(columns=f"{name}_{reference_group(text, reference)}")


def reference_group(values: pd.Series, wanted: str) -> str:
    """The group that was asked for, else the most frequent one, of several the first by name."""
    counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return wanted if wanted in counts.index else str(counts.index[0])


def pooled_sites(sites: pd.Series) -> pd.Series | None:
    """Sites as text, small ones under one name; None if only one is left."""
    text = sites.astype(str)
    counts = text.value_counts()
    text = text.where(text.map(counts) >= SMALL_SITE, POOLED)
    return text if text.nunique() > 1 else None


def _independent(matrix: pd.DataFrame) -> pd.DataFrame:
    """Without columns that are combinations of those before them."""
    values = matrix.to_numpy(dtype=np.float64)
    # The triangle is small, and its columns depend on each other as those of the matrix do.
    triangle = np.linalg.qr(values)[1]
    smallest = max(values.shape) * np.finfo(np.float64).eps
    kept: list[int] = []
    for column in range(values.shape[1]):
        sizes = np.linalg.svd(triangle[:, [*kept, column]], compute_uv=False)
        if (sizes > sizes.max() * smallest).sum() == len(kept) + 1:
            kept.append(column)
    return matrix.iloc[:, kept]
