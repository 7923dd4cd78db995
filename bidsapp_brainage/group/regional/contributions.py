"""Tables about contributions: means, models, lifespan, age groups, asymmetry, stability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.group.notes import Findings, Note, findings, notes_of
from bidsapp_brainage.group.regional.levels import Level, scaled_importance
from bidsapp_brainage.stats import lifespan, linear
from bidsapp_brainage.stats.agreement import repeatability
from bidsapp_brainage.stats.design import Design
from bidsapp_brainage.stats.intervals import means_with_intervals
from bidsapp_brainage.stats.permutation import false_discovery
from bidsapp_brainage.stats.regional import asymmetry, regions


def mean_contributions(
    table: pd.DataFrame,
    baselines: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    n_permutations: int,
    seed: int,
) -> Findings:
    """Mean contribution of every region and group, with every baseline (T5).

    `table` and `groups` (occluded as one) have a row per scan with the main baseline; `baselines`
    has all of them with fewer columns and may be empty.
    """
    means = regions.contribution_table(
        table,
        groups,
        others=_other_baselines(table, baselines),
        seed=seed,
        n_permutations=n_permutations,
    )
    return Findings({"occlusionstats": means}, notes_of("occlusionstats", regions.notes(means)))


def _other_baselines(main: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame | None:
    if more.empty or main.empty:
        return None
    more = more[~more["baseline"].isin(main["baseline"].unique())]
    return more.assign(abs_delta_age=more["delta_age"].abs())


def models(
    levels: Sequence[Level], design: Design | None, *, n_permutations: int, seed: int
) -> Findings:
    """Contributions explained by what is known of the people, if the sample supports a model."""
    if design is None or not levels:
        return Findings({})
    tables = []
    matrices = [level.matrix for level in levels]
    every = linear.max_t(matrices, design, n_permutations=n_permutations, seed=seed)
    for level, corrected in zip(levels, every, strict=True):
        stable = level.stable(lambda matrix: linear.coefficients(matrix, design))
        fits = linear.fit_each(level.matrix, design)
        named = fits["place"].map(dict(enumerate(level.matrix)))
        pairs = list(zip(named, fits["term"], strict=True))
        fits["p_maxt"] = corrected.stack(future_stack=True).reindex(pairs).to_numpy()
        fits["stable"] = pd.Series([stable.get(pair) for pair in pairs], dtype=object)
        table = _described(fits, level)
        by_term = table.groupby("term", sort=False)["p"]
        table["q"] = by_term.transform(lambda p: false_discovery(p.to_numpy()))
        tables.append(table)
    return findings("occlusionmodel", pd.concat(tables, ignore_index=True))


def _described(fits: pd.DataFrame, level: Level) -> pd.DataFrame:
    """With the columns that say what the rows are about, in front, and not the place."""
    labels = level.labels.iloc[fits["place"]].set_axis(fits.index)
    front = pd.DataFrame({"level": level.name, "index": None}, index=fits.index)
    return pd.concat([front.assign(**labels), fits.drop(columns="place")], axis=1)


def lifespan_curves(levels: Sequence[Level], ages: pd.Series) -> Findings:
    """Curves over age, and tests of their shape; ages (years) by participant."""
    curves, tests = [], []
    for level in levels:
        age = ages.reindex(level.matrix.index).to_numpy(dtype=np.float64)
        stable = level.stable(lambda matrix: _trends(matrix, ages))
        rows = []
        for place, title in enumerate(level.titles):
            values = level.matrix.iloc[:, place].to_numpy(dtype=np.float64)
            curve = lifespan.curve(age, values)
            if curve is not None:
                who = {"level": level.name, "name": title}
                curves.append(_curve_rows(curve, who))
                rows.append({**_test_row(curve, who, age, values), "stable": stable.iloc[place]})
        if rows:
            table = pd.DataFrame(rows)
            for name in ("age", "nonlinear"):
                q = false_discovery(table[f"p_{name}"].to_numpy())
                table.insert(list(table).index(f"p_{name}") + 1, f"q_{name}", q)
            tests.append(table)
    if curves:
        fitted, tested = (pd.concat(parts, ignore_index=True) for parts in (curves, tests))
        return Findings({"lifespan": fitted, "lifespanstats": tested})
    sentence = (
        f"No curves over the lifespan: at least {lifespan.MIN_PEOPLE} participants of known age "
        f"over {lifespan.MIN_SPAN:g} years are needed."
    )
    return Findings({}, [Note("lifespan", sentence)] if levels else [])


def _trends(matrix: pd.DataFrame, ages: pd.Series) -> pd.Series:
    """Covariance of every column with age, which has the sign of the slope."""
    values = matrix.to_numpy(dtype=np.float64)
    age = ages.reindex(matrix.index).to_numpy(dtype=np.float64)[:, None]
    known = np.isfinite(values) & np.isfinite(age)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, age, 0).sum(axis=0) / n
        products = np.where(known, (age - mean) * values, 0).sum(axis=0) / (n - 1)
    return pd.Series(np.where(n >= 3, products, np.nan), index=matrix.columns)


def _curve_rows(curve: lifespan.Curve, who: dict[str, str]) -> pd.DataFrame:
    names = {"fitted": "fitted_delta_age", "lower": "ci95_lower", "upper": "ci95_upper"}
    table = curve.table.rename(columns=names)
    return pd.concat([pd.DataFrame(who, index=table.index), table], axis=1)


def _test_row(
    curve: lifespan.Curve, who: dict[str, str], age: np.ndarray, values: np.ndarray
) -> dict[str, object]:
    known = np.isfinite(age) & np.isfinite(values)
    return {
        **who,
        "n_participants": int(known.sum()),
        "spline_df": lifespan.SPLINE_DF,
        "F_age": curve.f_age,
        "p_age": curve.p_age,
        "F_nonlinear": curve.f_nonlinear,
        "p_nonlinear": curve.p_nonlinear,
        "slope_per_decade": 10 * curve.slope,
        "spearman_age": float(stats.spearmanr(age[known], values[known]).statistic),
        "peak_age": curve.peak_age,
        "shape": "inverted_u" if curve.concave else "u",
    }


def age_groups(levels: Sequence[Level], ages: pd.Series) -> Findings:
    """Means in groups of age, as a description; ages (years) by participant."""
    groups = lifespan.age_group(ages).dropna()
    tables = []
    for level in levels:
        importance = regions.person_matrix(level.rows, level.name, "nosa_importance")
        scaled = scaled_importance(level)
        for name in lifespan.age_group_names():
            people = level.matrix.index.intersection(groups.index[groups == name])
            if len(people):
                part = level.matrix.loc[people]
                rows = _age_group_rows(level, name, part)
                for column, values in (("", importance), ("_scaled", scaled)):
                    means = values.reindex(index=people, columns=part.columns).mean()
                    rows[f"mean_nosa_importance{column}"] = means.to_numpy()
                tables.append(rows)
    if not tables:
        return Findings({})
    table = pd.concat(tables, ignore_index=True)
    return findings("agegroups", table.reindex(columns=columns_of("agegroups")))


def _age_group_rows(level: Level, name: str, part: pd.DataFrame) -> pd.DataFrame:
    means = means_with_intervals(part.to_numpy(dtype=np.float64))
    return pd.DataFrame(
        {
            "level": level.name,
            "name": level.titles,
            "age_group": name,
            "n_participants": means["n"],
            "mean_delta_age": means["mean"],
            "sd_delta_age": means["sd"],
            "ci95_lower": means["ci95_lower"],
            "ci95_upper": means["ci95_upper"],
            "rank": means["mean"].abs().rank(ascending=False, method="min").astype("Int64"),
        }
    )


def ranking_stability(levels: Sequence[Level], *, seed: int) -> Findings:
    """How much of the ranking is found again in other people."""
    rows = []
    for level in levels:
        values = level.matrix.to_numpy(dtype=np.float64)
        complete = int(np.isfinite(values).all(axis=0).sum())
        rows += [
            {
                "level": level.name,
                "measure": repeated.measure,
                "value": repeated.value,
                "ci95_lower": repeated.lower,
                "ci95_upper": repeated.upper,
                "n_repeats": repeated.n_repeats,
                "n_participants": len(values),
                "n_regions": complete,
            }
            for repeated in repeatability.split_halves(values, seed=seed)
        ]
    sentence = (
        f"No stability of ranks: at least {repeatability.MIN_PEOPLE} participants are needed."
    )
    return findings("stability", pd.DataFrame(rows), sentence if levels else "")


def left_against_right(levels: Sequence[Level], *, n_permutations: int, seed: int) -> Findings:
    """Contributions of homologous regions, and how much of a difference is the network's."""
    if not levels:
        return Findings({})
    of_regions = levels[0]
    pairs = asymmetry.homologous_pairs(of_regions.labels)
    if not len(pairs):
        return Findings({}, [Note("asymmetry", "No asymmetry: the atlas has no homologous pairs.")])
    flipped = _mirrored(of_regions, pairs)
    table = asymmetry.asymmetry_table(
        of_regions.matrix, pairs, flipped=flipped, n_permutations=n_permutations, seed=seed
    )
    stable = of_regions.stable(lambda matrix: asymmetry.mean_difference(matrix, pairs))
    table["stable"] = stable.to_numpy()
    sentence = (
        "The derivatives hold no contributions of mirrored images, so that an asymmetry may be the "
        "network's and not the brain's."
    )
    notes = [Note("asymmetry", sentence)] if flipped is None else []
    return Findings({"asymmetry": table}, notes)


def _mirrored(level: Level, pairs: pd.DataFrame) -> pd.DataFrame | None:
    """Contributions in mirrored images, by the side on which these show a region."""
    if "delta_age_mirrored" not in level.rows or level.rows["delta_age_mirrored"].isna().all():
        return None
    other_side = {
        **dict(zip(pairs["index_left"], pairs["index_right"], strict=True)),
        **dict(zip(pairs["index_right"], pairs["index_left"], strict=True)),
    }
    mirrored = regions.person_matrix(level.rows, level.name, "delta_age_mirrored")
    return mirrored.rename(columns=other_side)
