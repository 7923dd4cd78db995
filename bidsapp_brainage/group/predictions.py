"""How good the predictions of a sample are: metrics, gaps and what they go together with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.quantity import AGE
from bidsapp_brainage.group.calibration import CALIBRATED, calibrated, is_calibrated
from bidsapp_brainage.group.notes import Findings, findings, notes_of
from bidsapp_brainage.group.sample import subsets
from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.stats import accuracy, linear
from bidsapp_brainage.stats.accuracy import Accuracy
from bidsapp_brainage.stats.classes import class_scores, confusion
from bidsapp_brainage.stats.clinical.factors import screen
from bidsapp_brainage.stats.clinical.pairs import compare
from bidsapp_brainage.stats.clinical.separation import LEAST_OF_A_GROUP, separate
from bidsapp_brainage.stats.correction.kfold import KFoldCorrection
from bidsapp_brainage.stats.design import Design
from bidsapp_brainage.stats.intervals import MIN_FOR_INTERVAL, mean_with_interval

MIN_FOR_LINE = 5


def metrics(scans: pd.DataFrame, *, n_boot: int, seed: int) -> Findings:
    """Accuracy of predictions, of all, unflagged and parts of the sample (T2).

    Of raw ones and, where there are any, of those calibrated for their site, which do not contain
    the person's own age either. Of a model that predicts no age the table has no rows.
    """
    if not predict_ages(scans):
        return Findings({"metrics": pd.DataFrame(columns=list(accuracy.COLUMNS))})
    parts = _accuracies(scans, n_boot, seed)
    if is_calibrated(scans):
        parts += [
            Accuracy(part.table.assign(prediction="site"), part.notes)
            for part in _accuracies(calibrated(scans), n_boot, seed)
        ]
    corrected = scans["gap_corrected"]
    if corrected.notna().any():
        parts.append(
            accuracy.corrected_gap(
                scans["chronological_age"].to_numpy(),
                corrected.to_numpy(),
                scans["participant_id"].to_numpy(),
                n_boot=n_boot,
                seed=seed,
            )
        )
    measured = accuracy.join(parts)
    return Findings({"metrics": measured.table}, notes_of("metrics", measured.notes))


def predict_ages(scans: pd.DataFrame) -> bool:
    """Whether predictions are ages; those of earlier versions of the app are."""
    if "target" not in scans:
        return True
    return bool((scans["target"].isna() | scans["target"].eq(AGE)).any())


def overall(scans: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of everybody without intervals, of the calibrated values where there are any."""
    measured = _overall(calibrated(scans), "all", 0, 0)
    kind = "site" if is_calibrated(scans) else "raw"
    return accuracy.join(measured).table.assign(prediction=kind)


def _accuracies(scans: pd.DataFrame, n_boot: int, seed: int) -> list[Accuracy]:
    parts = [*_overall(scans, "all", n_boot, seed)]
    if scans["flagged"].any() and not scans["flagged"].all():
        parts += _overall(scans[~scans["flagged"]], "unflagged", n_boot, seed)
    for prefix, labels in _partitions(scans):
        parts.append(accuracy.by_subset(scans, labels, prefix=prefix, n_boot=n_boot, seed=seed))
    return parts


def _partitions(scans: pd.DataFrame) -> Sequence[tuple[str, pd.Series]]:
    names = [name for name in ("sex", "site", "group") if name in scans]
    decade = (scans["chronological_age"] // 10 * 10).map(_decade_name, na_action="ignore")
    return [*((name, scans[name]) for name in names), ("age", decade)]


def _decade_name(start: float) -> str:
    return f"{start:.0f}-{start + 9:.0f}"


def _overall(scans: pd.DataFrame, subset: str, n_boot: int, seed: int) -> list[Accuracy]:
    names = ("chronological_age", "predicted_age", "ci95_lower", "ci95_upper", "participant_id")
    age, predicted, lower, upper, people = (scans[name].to_numpy() for name in names)
    return [
        accuracy.metrics(age, predicted, people, n_boot=n_boot, seed=seed, subset=subset),
        accuracy.coverage(age, lower, upper, people, subset=subset),
    ]


def targets(rows: pd.DataFrame, *, n_boot: int, seed: int) -> Findings:
    """Every target scored by its type, and the counts of classes.

    `rows` are those of ``*_predictions.tsv`` of all scans; without any there is nothing.
    """
    if rows.empty:
        return Findings({})
    rows = rows.assign(true_value=rows["true_value"].map(_words))
    scores, counts, notes = [], [], []
    for target, part in rows.groupby("target", sort=False):
        if part["true_value"].isna().all():
            notes.append(f"No true value of {target} is known: it is not scored.")
            continue
        if part["class"].isna().all():
            measured = _number_scores(part, n_boot, seed)
        else:
            measured, counted, unknown = _class_scores(part, n_boot, seed)
            counts.append(counted.assign(target=target))
            notes += [f"{target}: {text}" for text in unknown]
        scores.append(measured.table.assign(target=target))
        notes += [f"{target}: {note}" for note in measured.notes]
    tables = {"group_predictions": rows.reindex(columns=columns_of("group_predictions"))}
    for key, parts in (("targets", scores), ("confusion", counts)):
        if parts:
            joined = pd.concat(parts, ignore_index=True)
            tables[key] = joined.reindex(columns=columns_of(key))
    return Findings(tables, notes_of("targets", notes))


def _words(value: str | float | None) -> str | None:
    """A cell as a word; a column of whole numbers with gaps is read as floats."""
    return None if pd.isna(value) else str(value).removesuffix(".0")


def _number_scores(rows: pd.DataFrame, n_boot: int, seed: int) -> Accuracy:
    names = ("true_value", "value", "ci95_lower", "ci95_upper")
    true, predicted, lower, upper = (
        pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=float) for name in names
    )
    people = rows["participant_id"].to_numpy()
    unit = str(rows["unit"].iloc[0])
    return accuracy.join(
        [
            accuracy.of_numbers(true, predicted, people, unit=unit, n_boot=n_boot, seed=seed),
            accuracy.coverage(true, lower, upper, people),
        ]
    )


def _class_scores(
    rows: pd.DataFrame, n_boot: int, seed: int
) -> tuple[Accuracy, pd.DataFrame, list[str]]:
    """Scores, counts, and sentences about people of classes that the model does not know."""
    labels = list(dict.fromkeys(rows["class"].map(_words)))
    wide = rows.assign(**{"class": rows["class"].map(_words)}).pivot(
        index="scan", columns="class", values="value"
    )
    scans = rows.groupby("scan")[["participant_id", "true_value"]].first().loc[wide.index]
    probabilities = wide[labels].to_numpy(dtype=float)
    true = [None if pd.isna(value) else str(value) for value in scans["true_value"]]
    strange = scans.loc[[v is not None and v not in labels for v in true], "true_value"]
    notes = [
        f"{count} scans are of class {name} by participants.tsv, which the model does not know "
        f"({', '.join(labels)}); they are not scored."
        for name, count in strange.value_counts().items()
    ]
    people = scans["participant_id"].to_numpy()
    table = class_scores(true, probabilities, labels, people, n_boot=n_boot, seed=seed)
    return Accuracy(table), confusion(true, probabilities, labels), notes


def gaps(
    scans: pd.DataFrame,
    kfold: KFoldCorrection | None,
    group_column: str,
    bias_correction: BiasCorrection | None = None,
    sites: pd.DataFrame | None = None,
    harmonised: pd.Series | None = None,
) -> Findings:
    """Mean gap and its slope on age, raw and corrected, all and by group (T3).

    `group_column` says in the text where groups come from, empty for none; `bias_correction` is a
    further one, given by the user; `sites` is the table of a calibration of sites, and the
    harmonised gaps are those without effects of sites.
    """
    corrections: list[tuple[pd.Series, dict[str, object]]] = [
        (scans["gap"], {"correction": "raw", "source": "as predicted"})
    ]
    if scans["gap_corrected"].notna().any():
        corrections.append((scans["gap_corrected"], _applied(scans)))
    if bias_correction is not None:
        expected = bias_correction.slope * scans["chronological_age"] + bias_correction.intercept
        corrections.append((scans["predicted_age"] - expected, _of_file(bias_correction)))
    if kfold is not None:
        corrections.append((kfold.gap, _within(kfold, group_column)))
    if sites is not None:
        corrections.append((scans[CALIBRATED["gap"]], _of_sites(sites, group_column)))
    if harmonised is not None:
        source = "effects of sites removed; see the table harmonisation"
        corrections.append((harmonised, {"correction": "harmonised", "source": source}))
    rows = []
    for gap, facts in corrections:
        values = scans.assign(value=gap)
        for name, part in subsets(values):
            if name == "all" or name.startswith(("group=", "sex=")):
                rows.append({**facts, "subset": name, **_gap_row(part)})
    return findings("gaps", pd.DataFrame(rows).reindex(columns=columns_of("gaps")))


def _applied(scans: pd.DataFrame) -> dict[str, object]:
    """The line that the participant level subtracted, read back from what it left."""
    expected = scans["predicted_age"] - scans["gap_corrected"]
    known = expected.notna() & scans["chronological_age"].notna()
    age, expected = scans.loc[known, "chronological_age"], expected[known]
    sources = scans.get("bias_model", pd.Series(dtype=object)).dropna().unique()
    facts: dict[str, object] = {
        "correction": "applied",
        "source": "; ".join(sorted(map(str, sources))) or "n/a",
    }
    if age.nunique() < 2:
        return facts
    slope, intercept = np.polyfit(age, expected, 1)
    if np.abs(slope * age + intercept - expected).max() > 0.01:
        return facts | {"warning": "not the same line for all scans"}
    return facts | {"line_slope": slope, "line_intercept": intercept}


def _of_file(bias_correction: BiasCorrection) -> dict[str, object]:
    return {
        "correction": "file",
        "source": bias_correction.source,
        "line_slope": bias_correction.slope,
        "line_intercept": bias_correction.intercept,
    }


def _of_sites(sites: pd.DataFrame, group_column: str) -> dict[str, object]:
    """The lines of sites; that of a single one stands here, too."""
    done = sites[sites["calibrated"] == "true"]
    remarks = sites.dropna(subset="remark")[["site", "remark"]].to_numpy()
    facts: dict[str, object] = {
        "correction": "site",
        "source": f"calibration of {len(done)} site(s) on their reference people"
        + (f" (column {group_column})" if group_column else ""),
        "n_reference": done["n_reference"].sum(),
        "reference_age_min": done["reference_age_min"].min(),
        "reference_age_max": done["reference_age_max"].max(),
        "warning": "; ".join(f"{site}: {text}" for site, text in remarks) or None,
    }
    if len(done) == 1:
        facts |= {name: done[name].iloc[0] for name in ("line_slope", "line_intercept")}
    return facts


def _within(kfold: KFoldCorrection, group_column: str) -> dict[str, object]:
    who = f"reference group of column {group_column}" if group_column else "all participants"
    return {
        "correction": "kfold",
        "source": f"cross-validation within this dataset, {who}",
        "line_slope": kfold.slope,
        "line_intercept": kfold.intercept,
        "n_reference": kfold.n_reference,
        "reference_age_min": kfold.age_range[0],
        "reference_age_max": kfold.age_range[1],
        "warning": "; ".join(kfold.warnings) or None,
    }


def _gap_row(scans: pd.DataFrame) -> dict[str, object]:
    people = scans.groupby("participant_id")[["value", "chronological_age"]].mean().dropna()
    gap, age = people["value"], people["chronological_age"]
    mean = mean_with_interval(gap)
    row: dict[str, object] = {"n_participants": mean.n, "mean_gap": mean.mean}
    if mean.n < MIN_FOR_INTERVAL:
        return row
    row |= {"sd_gap": mean.sd, "ci95_lower": mean.lower, "ci95_upper": mean.upper}
    if mean.n < MIN_FOR_LINE or age.nunique() < MIN_FOR_LINE:
        return row
    matrix = np.column_stack([np.ones(len(age)), age])
    slope = linear.least_squares(matrix, gap.to_numpy()[:, None]).term(1).iloc[0]
    return row | {
        "age_slope": slope["estimate"],
        "age_slope_ci95_lower": slope["ci95_lower"],
        "age_slope_ci95_upper": slope["ci95_upper"],
    }


def gap_model(people: pd.DataFrame, design: Design | None, name: str = "gap") -> Findings:
    """The gap explained by what is known of the people, if the sample supports a model.

    `name` says which gap stands in the column ``gap`` of the people.
    """
    if design is None or people["gap"].notna().sum() == 0:
        return Findings({})
    table = linear.fit(people["gap"], design)
    table.insert(0, "outcome", name)
    return findings("gapmodel", table)


def factors(people: pd.DataFrame, design: Design | None, table: pd.DataFrame | None) -> Findings:
    """The gap against every factor; `people` and `table` have one row per participant."""
    if table is None:
        return Findings({})
    known = people["gap"].dropna()
    if not len(known.index.intersection(table.index)):
        return findings("factors", None, "Nobody in the table of factors has a gap.")
    return findings("factors", screen(known, table, design))


def groups(people: pd.DataFrame, design: Design | None, *, n_boot: int, seed: int) -> Findings:
    """Every two groups compared and told apart by the gap, if there are groups."""
    if design is None or design.groups is None or people["gap"].notna().sum() == 0:
        return Findings({})
    pairs = findings("grouppairs", compare(people["gap"], design))
    separation, curves = separate(people["gap"], design, n_boot=n_boot, seed=seed)
    apart = findings(
        "groupseparation",
        separation,
        f"No two groups have {LEAST_OF_A_GROUP} people: whether the gap tells them apart was not "
        "computed.",
    )
    roc = findings("grouproc", curves)
    return Findings({**pairs.tables, **apart.tables, **roc.tables}, [*pairs.notes, *apart.notes])
