"""How good a model is on people, by cohort, sex and decade; and how steady between versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.device import cpu_threads
from bidsapp_brainage.model.inputs.channels import channel_volumes, channels, is_plain
from bidsapp_brainage.model.networks.branches import branches_of
from bidsapp_brainage.model.networks.regional import for_brain
from bidsapp_brainage.model.outputs import AGE, Head
from bidsapp_brainage.model.prediction import Prediction, predict
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.stats import accuracy
from bidsapp_brainage.stats.classes import class_metrics
from bidsapp_brainage.training.data.cohort import (
    Cohort,
    Source,
    load_modalities,
    load_regions,
    load_volume,
)
from bidsapp_brainage.training.decode import OF_BRANCH, average_tables, decode_table
from bidsapp_brainage.training.reference import tissue_beside

N_BOOT = 2000


@dataclass(frozen=True)
class Report:
    """Accuracy of a model, and what was left out of it and why.

    The table holds ``cohort target`` and the columns of :mod:`bidsapp_brainage.stats.accuracy`.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The table for a terminal: one line per metric."""
        lines = [
            f"{'cohort':<18}{'target':<8}{'subset':<14}{'metric':<18}{'n':>5}  value [95 % CI]"
        ]
        for row in self.table.to_dict("records"):
            interval = ""
            if np.isfinite(row["ci95_lower"]):
                interval = f" [{row['ci95_lower']:.2f}, {row['ci95_upper']:.2f}]"
            unit = "" if row["unit"] == "1" else f" {row['unit']}"
            lines.append(
                f"{row['cohort']:<18}{row['target']:<8}{row['subset']:<14}{row['metric']:<18}"
                f"{row['n_participants']:>5}  {row['value']:.2f}{interval}{unit}"
            )
        return "\n".join([*lines, *self.notes])


def source_for(card: ModelCard, folder: Path, source: Source) -> Source:
    """Images of a folder that a model can predict.

    A fine-tuned or retrained network sees what was made for another one of the same grid, unless
    the user says which images are meant.
    """
    if not source.prepared or source.desc or source.find(folder):
        return source
    learned = card.training.get("inputs", {})
    return Source(card.name, learned.get("desc"), learned.get("suffix"), source.modality)


def predict_cohort(
    card: ModelCard, cohort: Cohort, *, device: str = "cpu", threads: int | None = None
) -> pd.DataFrame:
    """Predict a cohort with a finished model; ages exactly as the app does.

    Returns
    -------
    DataFrame
        ``participant_id image age sex``, for age ``predicted_age predicted_age_sd
        distribution_sd ci95_lower ci95_upper training_distance member_sd ood_flag``, for other
        heads their true value and the columns of
        :func:`bidsapp_brainage.training.decode.decode_table`.
    """
    members, parts = load_members(card, device), card.heads
    others = any(head.name != AGE for head in parts)
    has_age = any(head.name == AGE for head in parts)
    rows, answers = [], []
    for path in cohort.paths:
        regions = load_regions(path)
        own, volumes = for_brain(members, regions), _seen(card, cohort, path, regions)
        if has_age:
            tissue = tissue_beside(path)
            result = predict(own, volumes, card, tissue=tissue, device=device, n_threads=threads)
            rows.append(_age_row(result))
        if others:
            raw = _raw_outputs(own, volumes, device, threads)
            answers.append(average_tables([decode_table(one, parts) for one in raw], parts))
    table = pd.DataFrame({"participant_id": cohort.people, AGE: cohort.ages})
    table.insert(1, "image", [path.name for path in cohort.paths])
    table["sex"] = cohort.texts("sex")
    table = table.join(pd.DataFrame(rows, index=table.index))
    return _with_others(table, cohort, answers, parts) if others else table


def _seen(
    card: ModelCard, cohort: Cohort, path: Path, regions: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What the model sees of a person, by channel."""
    if is_plain(card.input):
        (channel,) = channels(card.input)
        return {channel.name: load_volume(path, card.input, prepared=cohort.prepared)}
    return channel_volumes(card.input, load_modalities(path, card.input), regions)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read somebody's table of predictions: out-of-fold, the app's own, or another tool's.

    Raises
    ------
    DataError
        It lacks ``participant_id``, ``age`` (or ``chronological_age``) or any ``predicted_...``.
    """
    table = read_tsv(path)
    if "chronological_age" in table and AGE not in table:
        table = table.rename(columns={"chronological_age": AGE})
    predicted = [name for name in table.columns if str(name).startswith("predicted_")]
    if "participant_id" not in table or not predicted:
        raise DataError(f"{path} needs the columns participant_id, age and predicted_age.")
    return table


def report(
    predictions: Mapping[str, pd.DataFrame],
    parts: Sequence[Head],
    n_boot: int = N_BOOT,
    *,
    subsets: bool = True,
) -> Report:
    """Accuracy by cohort, and within each by sex and decade of age.

    Parameters
    ----------
    predictions : mapping
        Tables by name of the cohort.
    parts : sequence of Head
        What the model predicts.
    n_boot : int
        Bootstrap resamples over participants.
    subsets : bool
        Also by sex and decade.
    """
    tables, notes = [], []
    for cohort, table in predictions.items():
        for head in parts:
            if f"predicted_{head.name}" not in table or head.name not in table:
                notes.append(f"{cohort}: no predicted and true {head.name}.")
                continue
            measured = _of_head(table, head, n_boot, subsets=subsets)
            tables.append(measured.table.assign(cohort=cohort, target=head.name))
            notes += [f"{cohort}: {note}" for note in measured.notes]
    columns = ["cohort", "target", *accuracy.COLUMNS]
    full = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return Report(full[columns], tuple(dict.fromkeys(notes)))


def change_table(
    reference: pd.DataFrame, versions: Mapping[str, pd.DataFrame], column: str = "predicted_age"
) -> pd.DataFrame:
    """How much predictions for the same people change between versions of their images.

    Parameters
    ----------
    reference : DataFrame
        ``participant_id`` and ``column``; scans of one person are averaged.
    versions : mapping
        Tables of the same people by name of the version (repeat, rotated, 1 mm, noisy ...).
    column : str
        What is compared.

    Returns
    -------
    DataFrame
        ``version n median_abs_change p90_abs_change max_abs_change mean_change``, then slopes of
        predicted on true age of the reference and of the version, for the same people:
        ``reference_slope slope``; NaN where ages are unknown.
    """
    before = reference.groupby("participant_id")[column].mean()
    ages = _true_ages(reference)
    rows = []
    for name, table in versions.items():
        after = table.groupby("participant_id")[column].mean()
        change = (after - before).dropna()
        if change.empty:
            raise DataError(f"Version {name} and the reference have no person in common.")
        size = change.abs()
        rows.append(
            {
                "version": name,
                "n": len(change),
                "median_abs_change": float(size.median()),
                "p90_abs_change": float(size.quantile(0.9)),
                "max_abs_change": float(size.max()),
                "mean_change": float(change.mean()),
                "reference_slope": _slope(ages, before.loc[change.index]),
                "slope": _slope(ages, after.loc[change.index]),
            }
        )
    return pd.DataFrame(rows)


def _true_ages(table: pd.DataFrame) -> pd.Series:
    if AGE not in table:
        return pd.Series(np.nan, index=table["participant_id"].unique())
    return table.groupby("participant_id")[AGE].mean()


def _slope(ages: pd.Series, predicted: pd.Series) -> float:
    """Slope of predicted on true age; NaN with fewer than three people of known age."""
    known = ages.reindex(predicted.index).dropna()
    if len(known) < accuracy.MIN_FOR_LINE:
        return np.nan
    age = known.to_numpy(dtype=np.float64)
    return 1 + accuracy.bias_slope(age, predicted.loc[known.index].to_numpy(dtype=np.float64))


def figures(age: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy of raw predictions as cards carry it.

    ``r`` is Pearson's, ``r2`` is 1 - SSE / SST, ``gap_slope`` the years of gap per year of age (the
    age bias), ``mae_mean_predictor`` that of always saying the sample's mean age.
    """
    values = {
        "mae": accuracy.mae(age, predicted),
        "rmse": accuracy.rmse(age, predicted),
        "r": accuracy.pearson_r(age, predicted),
        "r2": accuracy.r_squared(age, predicted),
        "mean_gap": accuracy.mean_gap(age, predicted),
        "gap_slope": accuracy.bias_slope(age, predicted),
        "mae_mean_predictor": accuracy.mae_mean_age(age, predicted),
        "age_min": age.min(),
        "age_max": age.max(),
        "age_sd": age.std(ddof=1),
    }
    return {"n": len(age), **{name: round(float(value), 4) for name, value in values.items()}}


def coverage(table: pd.DataFrame) -> float | None:
    """Share of people whose age lies in their 95 % interval; None where nobody has one."""
    known = table[[AGE, "ci95_lower", "ci95_upper"]].astype(float).dropna()
    if known.empty:
        return None
    inside = known[AGE].between(known["ci95_lower"], known["ci95_upper"])
    return round(float(inside.mean()), 4)


def _age_row(result: Prediction) -> dict[str, object]:
    return {
        "predicted_age": result.mean,
        "predicted_age_sd": result.sd_calibrated,
        "distribution_sd": result.sd,
        "ci95_lower": result.ci95_lower,
        "ci95_upper": result.ci95_upper,
        "training_distance": result.distance,
        "member_sd": result.findings.disagreement,
        "ood_flag": result.ood_flag,
        **{f"{OF_BRANCH}{name}": age for name, age in result.channel_ages.items()},
    }


def _raw_outputs(
    members: Sequence[torch.nn.Module],
    volumes: Mapping[str, np.ndarray],
    device: str,
    threads: int | None,
) -> list[torch.Tensor]:
    """What every member says about every channel."""
    raw = []
    with cpu_threads(threads), torch.inference_mode():
        for name, volume in volumes.items():
            batch = torch.from_numpy(np.ascontiguousarray(volume))[None, None].to(device)
            raw += [member(batch).float().cpu() for member in branches_of(members, name)]
    return raw


def _with_others(
    table: pd.DataFrame,
    cohort: Cohort,
    answers: Sequence[pd.DataFrame],
    parts: Sequence[Head],
) -> pd.DataFrame:
    """Join the other heads, from one row per scan, averaged over channels and members."""
    decoded = pd.concat(answers, ignore_index=True)
    for head in parts:
        if head.name != AGE:
            table[head.name] = cohort.truth(head)
    return table.join(decoded.drop(columns=[c for c in decoded if c in table]))


def _of_head(table: pd.DataFrame, head: Head, n_boot: int, *, subsets: bool) -> accuracy.Accuracy:
    if head.coding == "classes":
        columns = [f"probability_{head.name}_{label}" for label in head.classes]
        texts = [None if pd.isna(value) else str(value) for value in table[head.name]]
        return class_metrics(
            texts,
            table[columns].to_numpy(dtype=float),
            head.classes,
            table["participant_id"].to_numpy(),
            n_boot=n_boot,
        )
    values = (
        table[head.name].to_numpy(dtype=float),
        table[f"predicted_{head.name}"].to_numpy(dtype=float),
        table["participant_id"].to_numpy(),
    )
    if head.name != AGE:
        return accuracy.of_numbers(*values, unit=head.unit or "1", n_boot=n_boot)
    whole = accuracy.metrics(*values, n_boot=n_boot)
    return accuracy.join([whole, *_age_parts(table, n_boot, subsets=subsets)])


def _age_parts(table: pd.DataFrame, n_boot: int, *, subsets: bool) -> list[accuracy.Accuracy]:
    """Coverage of the intervals, and parts of the sample."""
    scans = table.rename(columns={AGE: "chronological_age"})
    parts = []
    if {"ci95_lower", "ci95_upper"} <= set(table.columns):
        age, lower, upper = (
            table[name].to_numpy(dtype=float) for name in (AGE, "ci95_lower", "ci95_upper")
        )
        parts.append(accuracy.coverage(age, lower, upper, table["participant_id"].to_numpy()))
    if not subsets:
        return parts
    if "sex" in table:
        parts.append(accuracy.by_subset(scans, table["sex"], prefix="sex", n_boot=n_boot))
    decade = table[AGE].astype(float).map(_decade)
    parts.append(accuracy.by_subset(scans, decade, prefix="decade", n_boot=n_boot))
    return parts


def _decade(age: float) -> str | None:
    return f"{int(age // 10) * 10}-{int(age // 10) * 10 + 9}" if np.isfinite(age) else None
