"""Tables about regional contributions: models, lifespan, asymmetry, stability, agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.group.collect import AtlasResult
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.group.sample import Repeats, reliability_row
from bidsapp_brainage.stats import asymmetry, lifespan, linear, regions, stability
from bidsapp_brainage.stats.permutation import false_discovery

N_PERMUTATIONS = 999
AGREEMENT = ("spearman", "spearman_abs", "spearman_abs_per_ml")


@dataclass(frozen=True)
class Level:
    """Contributions of one level with the main baseline.

    Attributes
    ----------
    name : str
        ``region``, ``network``, ``lobe`` or ``hemisphere``.
    rows : DataFrame
        One row per scan and region or group.
    matrix : DataFrame
        Participants by regions (label) or groups (name), years.
    labels : DataFrame
        What describes a column of the matrix: ``index``, ``name`` and so on, in its order.
    """

    name: str
    rows: pd.DataFrame
    matrix: pd.DataFrame
    labels: pd.DataFrame

    @property
    def titles(self) -> list[str]:
        """Names for people, in the order of the matrix."""
        return [str(name) for name in self.labels["name"]]


@dataclass(frozen=True)
class Context:
    """What the tables of one atlas need besides its own.

    Attributes
    ----------
    people : DataFrame
        One row per participant with ``age``.
    design : Design or None
        Linear model that the sample supports.
    repeats : Repeats or None
        Scans of people with several.
    flagged : frozenset of str
        Names of flagged scans.
    seed : int
    """

    people: pd.DataFrame
    design: linear.Design | None
    repeats: Repeats | None
    flagged: frozenset[str]
    seed: int


@dataclass
class Tables:
    """Tables by kind, and notes about what is missing."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def add(self, kind: str, table: pd.DataFrame | None, why_not: str = "") -> None:
        """Keep a table that has rows; else remember why there is none."""
        if table is not None and not table.empty:
            self.tables[kind] = table
        elif why_not:
            self.notes.append(Note(kind, why_not))


def levels_of(table: pd.DataFrame) -> list[Level]:
    """Levels of the main baseline: the first one of the table."""
    if table.empty:
        return []
    main = table[table["baseline"].isin([table["baseline"].iloc[0]])]
    names = ["region", *(name for name in regions.GROUPINGS if main[name].notna().any())]
    return [_level(main, name) for name in names]


def _level(main: pd.DataFrame, name: str) -> Level:
    rows = regions.level_rows(main, name)
    matrix = regions.person_matrix(rows, name)
    if name == "region":
        matrix = matrix.dropna(axis="columns", how="all")
        labels = main.drop_duplicates("index").set_index("index")[regions.REGION[1:]]
        labels = labels.loc[matrix.columns].reset_index()
    else:
        labels = pd.DataFrame({"name": matrix.columns.astype(str)})
    return Level(name, rows, matrix, labels)


def contribution_tables(result: AtlasResult, context: Context) -> Tables:
    """All tables of one atlas but ``occlusionstats``.

    Parameters
    ----------
    result : AtlasResult
    context : Context

    Returns
    -------
    Tables
        By kind, for the kinds that the sample supports.
    """
    levels = levels_of(result.table)
    found = Tables()
    if not levels:
        return found
    found.add("occlusionmodel", _models(levels, context))
    found.add("occlusionreliability", _reliability(levels, context))
    curves, tests = _lifespan(levels, context.people["age"])
    found.add(
        "lifespan",
        curves,
        f"No curves over the lifespan: at least {lifespan.MIN_PEOPLE} participants of known age "
        f"over {lifespan.MIN_SPAN:g} years are needed.",
    )
    found.add("lifespanstats", tests)
    found.add("agegroups", _age_groups(levels, context.people["age"]))
    _add_asymmetry(found, levels[0], context.seed)
    found.add(
        "stability",
        _stability(levels, context.seed),
        f"No stability of ranks: at least {stability.MIN_PEOPLE} participants are needed.",
    )
    found.add("agreementstats", _agreement(result.agreement))
    return found


def _add_asymmetry(found: Tables, level: Level, seed: int) -> None:
    pairs = asymmetry.homologous_pairs(level.labels)
    flipped = _mirrored(level, pairs)
    table = (
        asymmetry.asymmetry_table(
            level.matrix, pairs, flipped=flipped, n_permutations=N_PERMUTATIONS, seed=seed
        )
        if len(pairs)
        else None
    )
    found.add("asymmetry", table, "No asymmetry: the atlas has no homologous pairs.")
    if table is not None and flipped is None:
        found.notes.append(
            Note(
                "asymmetry",
                "The derivatives hold no contributions of mirrored images, so that an asymmetry "
                "may be the network's and not the brain's.",
            )
        )


def _mirrored(level: Level, pairs: pd.DataFrame) -> pd.DataFrame | None:
    """Contributions in mirrored images, by the side on which these show a region."""
    if "delta_age_mirrored" not in level.rows or level.rows["delta_age_mirrored"].isna().all():
        return None
    other_side = {
        **dict(zip(pairs["index_left"], pairs["index_right"], strict=True)),
        **dict(zip(pairs["index_right"], pairs["index_left"], strict=True)),
    }
    found = regions.person_matrix(level.rows, level.name, "delta_age_mirrored")
    return found.rename(columns=other_side)


def _models(levels: Sequence[Level], context: Context) -> pd.DataFrame | None:
    design = context.design
    if design is None:
        return None
    tables = []
    for level in levels:
        corrected = linear.max_t(
            level.matrix, design, n_permutations=N_PERMUTATIONS, seed=context.seed
        )
        parts = []
        for place, column in enumerate(level.matrix):
            table = linear.fit(level.matrix[column], design)
            table["p_maxt"] = [corrected.at[column, term] for term in table["term"]]
            parts.append(_described(table, level, place))
        table = pd.concat(parts, ignore_index=True)
        by_term = table.groupby("term", sort=False)["p"]
        table["q"] = by_term.transform(lambda p: false_discovery(p.to_numpy()))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _described(table: pd.DataFrame, level: Level, place: int) -> pd.DataFrame:
    """With the columns that say what the rows are about, in front."""
    front: dict[str, Any] = {"level": level.name, "index": None, **level.labels.iloc[place]}
    return pd.concat([pd.DataFrame(front, index=table.index), table], axis=1)


def _reliability(levels: Sequence[Level], context: Context) -> pd.DataFrame | None:
    if context.repeats is None:
        return None
    rows = []
    for level in levels:
        key = regions.level_key(level.name)
        wide = level.rows.groupby(["scan", key])["delta_age"].first().unstack()
        for place, column in enumerate(level.matrix):
            row = reliability_row(context.repeats.matrix(wide[column]))
            if row is not None:
                labels = level.labels.iloc[place].to_dict()
                rows.append({"level": level.name, "index": None, **labels, **row})
    return pd.DataFrame(rows)


def _lifespan(
    levels: Sequence[Level], ages: pd.Series
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    curves, tests = [], []
    for level in levels:
        age = ages.reindex(level.matrix.index).to_numpy(dtype=np.float64)
        rows = []
        for title, column in zip(level.titles, level.matrix, strict=True):
            values = level.matrix[column].to_numpy(dtype=np.float64)
            found = lifespan.curve(age, values)
            if found is not None:
                who = {"level": level.name, "name": title}
                curves.append(_curve_rows(found, who))
                rows.append(_test_row(found, who, age, values))
        if rows:
            table = pd.DataFrame(rows)
            for name in ("age", "nonlinear"):
                q = false_discovery(table[f"p_{name}"].to_numpy())
                table.insert(table.columns.get_loc(f"p_{name}") + 1, f"q_{name}", q)
            tests.append(table)
    if not curves:
        return None, None
    return pd.concat(curves, ignore_index=True), pd.concat(tests, ignore_index=True)


def _curve_rows(found: lifespan.Curve, who: dict[str, str]) -> pd.DataFrame:
    names = {"fitted": "fitted_delta_age", "lower": "ci95_lower", "upper": "ci95_upper"}
    table = found.table.rename(columns=names)
    return pd.concat([pd.DataFrame(who, index=table.index), table], axis=1)


def _test_row(
    found: lifespan.Curve, who: dict[str, str], age: np.ndarray, values: np.ndarray
) -> dict[str, Any]:
    known = np.isfinite(age) & np.isfinite(values)
    return {
        **who,
        "n_participants": int(known.sum()),
        "spline_df": lifespan.SPLINE_DF,
        "F_age": found.f_age,
        "p_age": found.p_age,
        "F_nonlinear": found.f_nonlinear,
        "p_nonlinear": found.p_nonlinear,
        "slope_per_decade": 10 * found.slope,
        "spearman_age": float(stats.spearmanr(age[known], values[known]).statistic),
        "peak_age": found.peak_age,
        "shape": _shape(found),
    }


def _shape(found: lifespan.Curve) -> str:
    return "inverted_u" if found.concave else "u"


def _age_groups(levels: Sequence[Level], ages: pd.Series) -> pd.DataFrame | None:
    groups = lifespan.age_group(ages).dropna()
    tables = []
    for level in levels:
        importance = regions.person_matrix(level.rows, level.name, "nosa_importance")
        for name in sorted(groups.unique(), key=lambda text: int(str(text).split("-")[0])):
            people = level.matrix.index.intersection(groups.index[groups == name])
            if len(people):
                part = level.matrix.loc[people]
                nosa = importance.reindex(index=people, columns=part.columns)
                tables.append(_age_group_rows(level, str(name), part, nosa))
    return pd.concat(tables, ignore_index=True) if tables else None


def _age_group_rows(
    level: Level, name: str, part: pd.DataFrame, importance: pd.DataFrame
) -> pd.DataFrame:
    mean, count = part.mean(), part.notna().sum()
    half = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * part.std(ddof=1) / np.sqrt(count)
    half = half.where(count >= regions.MIN_FOR_INTERVAL)
    return pd.DataFrame(
        {
            "level": level.name,
            "name": level.titles,
            "age_group": name,
            "n_participants": count.to_numpy(),
            "mean_delta_age": mean.to_numpy(),
            "sd_delta_age": part.std(ddof=1).to_numpy(),
            "ci95_lower": (mean - half).to_numpy(),
            "ci95_upper": (mean + half).to_numpy(),
            "mean_nosa_importance": importance.mean().to_numpy(),
            "rank": mean.abs().rank(ascending=False, method="min").astype("Int64").to_numpy(),
        }
    )


def _stability(levels: Sequence[Level], seed: int) -> pd.DataFrame:
    rows = []
    for level in levels:
        values = level.matrix.to_numpy(dtype=np.float64)
        complete = int(np.isfinite(values).all(axis=0).sum())
        rows += [
            {
                "level": level.name,
                "measure": found.measure,
                "value": found.value,
                "ci95_lower": found.lower,
                "ci95_upper": found.upper,
                "n_repeats": found.n_repeats,
                "n_participants": len(values),
                "n_regions": complete,
            }
            for found in stability.split_halves(values, seed=seed)
        ]
    return pd.DataFrame(rows)


def _agreement(table: pd.DataFrame) -> pd.DataFrame | None:
    """Mean over participants of the rank agreement between explanations."""
    if table.empty or "explanation_a" not in table:
        return None
    rows = []
    for (one, two), part in table.groupby(["explanation_a", "explanation_b"], sort=False):
        for measure in (name for name in AGREEMENT if name in part):
            values = pd.to_numeric(part[measure], errors="coerce")
            people = values.groupby(part["participant_id"]).mean().dropna()
            if len(people):
                rows.append(
                    {"explanation_a": one, "explanation_b": two, "measure": measure}
                    | _mean_row(people)
                )
    return pd.DataFrame(rows)


def _mean_row(values: pd.Series) -> dict[str, Any]:
    row: dict[str, Any] = {"n_participants": len(values), "mean": values.mean()}
    if len(values) >= regions.MIN_FOR_INTERVAL and np.ptp(values) > 0:
        bounds = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        row |= {"sd": values.std(ddof=1), "ci95_lower": bounds[0], "ci95_upper": bounds[1]}
    return row


def sensitivity_rows(result: AtlasResult, context: Context) -> list[dict[str, Any]]:
    """How the mean contributions change without flagged scans, with other fills, over members."""
    levels = levels_of(result.table)
    if not levels:
        return []
    main = levels[0].matrix
    rows = []
    kept = levels[0].rows[~levels[0].rows["scan"].isin(context.flagged)]
    if context.flagged and not kept.empty:
        rows += _compare("unflagged", main, regions.person_matrix(kept, "region"))
    if not result.baselines.empty:
        first = levels[0].rows["baseline"].iloc[0]
        for name, part in result.baselines.groupby("baseline", sort=True):
            if name != first:
                other = regions.person_matrix(part, "region")
                people = main.index.intersection(other.index)
                rows += _compare(f"baseline={name}", main.loc[people], other)
    rows += _members(levels[0])
    return [{"atlas": result.title, "main": np.nan, "difference": np.nan, **row} for row in rows]


def _compare(analysis: str, main: pd.DataFrame, other: pd.DataFrame) -> list[dict[str, Any]]:
    one, two = main.mean().align(other.mean(), join="inner")
    known = one.notna() & two.notna()
    if known.sum() < stability.MIN_REGIONS:
        return []
    one, two = one[known].to_numpy(), two[known].to_numpy()
    measures: list[tuple[str, Callable[..., float]]] = [
        ("spearman", lambda a, b: float(stats.spearmanr(a, b).statistic)),
        ("spearman_abs", lambda a, b: float(stats.spearmanr(np.abs(a), np.abs(b)).statistic)),
    ]
    if len(one) >= 2 * stability.TOP:
        measures.append(("top10_overlap", stability.top_overlap))
    return [
        {
            "analysis": analysis,
            "measure": name,
            "value": function(one, two),
            "unit": "1",
            "n_participants": len(other),
        }
        for name, function in measures
    ]


def _members(level: Level) -> list[dict[str, Any]]:
    """Spread over the members of the ensemble, against the size of the contribution."""
    if "delta_age_sd_members" not in level.rows:
        return []
    spread = regions.person_matrix(level.rows, "region", "delta_age_sd_members")
    if not spread.notna().to_numpy().any():
        return []
    relative = spread.mean() / level.matrix.abs().mean()
    return [
        {
            "analysis": "ensemble_members",
            "measure": "relative_sd_of_members",
            "value": float(relative.median()),
            "unit": "1",
            "n_participants": len(spread),
        }
    ]
