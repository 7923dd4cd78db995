"""What the derivatives of a group add up to: figures of the sample, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bidsapp_brainage.group import contributions, literature, sample
from bidsapp_brainage.group.collect import AtlasResult, ModelResult
from bidsapp_brainage.group.leakage import training_overlap
from bidsapp_brainage.group.notes import Note, notes_of
from bidsapp_brainage.group.people import Roles
from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.stats import accuracy, bias, linear, outliers, regions
from bidsapp_brainage.stats.accuracy import Accuracy

N_BOOT = 2000
UNFLAGGED = frozenset({"none", "pass", "ok", "accept"})
QC_METRICS = (
    "cnr",
    "snr",
    "efc",
    "fber",
    "wm2max",
    "inhomogeneity",
    "brain_volume_ml",
    "mask_overlap_dice",
    "template_correlation",
    "registration_mi",
    "fov_clipped_fraction",
)


@dataclass(frozen=True)
class AtlasSummary:
    """Mean contributions with one atlas and what to know about them."""

    result: AtlasResult
    table: pd.DataFrame
    notes: tuple[str, ...]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # by kind, without `table`


@dataclass(frozen=True)
class Summary:
    """One model's results for a sample.

    Attributes
    ----------
    model : ModelResult
    scans : DataFrame
        One row per scan: the predictions with ``sex``, ``site`` and ``flagged``.
    accuracy : Accuracy
        Long table of metrics; subsets ``all``, ``unflagged``, by sex, site and decade.
    atlases : tuple of AtlasSummary
    outliers : DataFrame
        Scans with an unusual quality metric or gap.
    exclusions : DataFrame
        ``scan``, ``left_out_of``, ``reason``.
    tables : dict
        Further tables of the model by kind: ``sample``, ``gaps``, ``gapmodel``, ``reliability``,
        ``change``, ``sensitivity``; only those that the sample supports.
    notes : tuple of Note
        Sentences about all tables, those of the atlases among them.
    """

    model: ModelResult
    scans: pd.DataFrame
    accuracy: Accuracy
    atlases: tuple[AtlasSummary, ...]
    outliers: pd.DataFrame
    exclusions: pd.DataFrame
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be read before the numbers are used."""
        return tuple(note.sentence for note in self.notes if note.severity == "warning")


@dataclass(frozen=True)
class Question:
    """What the user wants to know, besides the derivatives.

    Attributes
    ----------
    roles : Roles
        Which columns of participants.tsv mean what.
    dataset_name : str
        Name of the dataset, to be compared with the training cohort.
    card : ModelCard or None
        Card of the model, if it is installed here.
    line : BiasCorrection or None
        A correction that the user gives to the group level.
    """

    roles: Roles = field(default_factory=Roles)
    dataset_name: str = ""
    card: ModelCard | None = None
    line: BiasCorrection | None = None


def summarise(
    model: ModelResult,
    participants: pd.DataFrame,
    question: Question | None = None,
    *,
    seed: int,
) -> Summary:
    """Summarise one model's results.

    Parameters
    ----------
    model : ModelResult
    participants : DataFrame
        ``participant_id`` and, where known, ``sex``, ``site``, ``group`` and covariates; may be
        empty.
    question : Question, optional
        What to compare.
    seed : int
        Seed of bootstrap and permutations.
    """
    asked = question or Question()
    scans = _scans(model.brainage, participants, asked.roles)
    found = contributions.Tables()
    kfold = bias.kfold_correction(scans, _reference(scans, asked.roles))
    if not isinstance(kfold, str):
        scans["gap_kfold"] = kfold.gap
    gaps, notes = sample.gaps_table(scans, kfold, asked.roles.group, asked.line)
    found.notes += [*_leakage(model, asked), *notes_of("collection", model.notes, "warning")]
    found.notes += notes
    exclusions = _exclusions(scans, model)
    found.add("sample", sample.sample_table(scans, len(model.missing)))
    found.add("gaps", gaps)
    context = _context(found, scans, model, asked.roles, seed)
    measured = _accuracy(scans, seed)
    atlases = tuple(_atlas(result, context, found) for result in model.atlases)
    found.add("sensitivity", _sensitivity(measured.table, model, context))
    return Summary(
        model=model,
        scans=scans,
        accuracy=measured,
        atlases=atlases,
        outliers=_outliers(scans, model.qc),
        exclusions=exclusions,
        tables=found.tables,
        notes=(*found.notes, *notes_of("metrics", measured.notes)),
    )


def _leakage(model: ModelResult, asked: Question) -> list[Note]:
    if asked.card is None:
        sentence = (
            "The card of the model is not installed here, so that nobody checked whether these "
            "people were in its training set."
        )
        return [Note("leakage", sentence)]
    people = sorted(set(model.brainage["participant_id"]))
    sentence = training_overlap(asked.card, asked.dataset_name, people)
    return [Note("leakage", sentence, "warning")] if sentence else []


def _reference(scans: pd.DataFrame, roles: Roles) -> pd.Series:
    """Scans that a correction may be fitted on: the reference group, or everybody."""
    if not roles.group or scans["group"].dropna().empty:
        return pd.Series(True, index=scans.index)
    wanted = roles.reference or scans["group"].value_counts().sort_index().idxmax()
    return scans["group"] == wanted


def _context(
    found: contributions.Tables, scans: pd.DataFrame, model: ModelResult, roles: Roles, seed: int
) -> contributions.Context:
    """What the analyses of all atlases share; writes the tables of people on the way."""
    people = sample.person_table(scans, model.qc, roles.covariates)
    design, notes = linear.make_design(
        people, covariates=roles.covariates, reference=roles.reference
    )
    found.notes += notes_of("gapmodel and occlusionmodel", notes)
    found.add("gapmodel", sample.gap_model(people, design))
    chosen = sample.repeats(scans)
    if isinstance(chosen, str):
        found.notes.append(Note("reliability", chosen))
    change = sample.change_table(scans)
    found.add("change", change)
    if not isinstance(chosen, str):
        found.add("reliability", sample.reliability_table(scans, chosen, change))
    return contributions.Context(
        people=people,
        design=design,
        repeats=None if isinstance(chosen, str) else chosen,
        flagged=frozenset(scans.loc[scans["flagged"], "scan"]),
        seed=seed,
    )


def _sensitivity(
    metrics: pd.DataFrame, model: ModelResult, context: contributions.Context
) -> pd.DataFrame:
    """What changes without flagged scans, with other fills and between members (T7)."""
    raw = metrics[metrics["prediction"] == "raw"]
    main = raw[raw["subset"] == "all"].set_index("metric")
    rows = [
        {
            "analysis": "unflagged",
            "atlas": None,
            "measure": row["metric"],
            "main": main["value"].get(row["metric"]),
            "value": row["value"],
            "difference": row["value"] - main["value"].get(row["metric"]),
            "unit": row["unit"],
            "n_participants": row["n_participants"],
        }
        for _, row in raw[raw["subset"] == "unflagged"].iterrows()
    ]
    for result in model.atlases:
        rows += contributions.sensitivity_rows(result, context)
    return pd.DataFrame(rows, columns=list(_SENSITIVITY))


_SENSITIVITY = (
    "analysis",
    "atlas",
    "measure",
    "main",
    "value",
    "difference",
    "unit",
    "n_participants",
)


def _scans(brainage: pd.DataFrame, participants: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    scans = brainage.copy()
    numbers = ["chronological_age", "predicted_age", "gap", "gap_corrected"]
    for name in [*numbers, "ci95_lower", "ci95_upper"]:
        values = scans[name] if name in scans else pd.Series(np.nan, index=scans.index)
        scans[name] = pd.to_numeric(values, errors="coerce").astype(float)
    for name in ("qc_flag", "ood_flag"):
        scans[name] = scans[name].fillna("none") if name in scans else "none"
    labels = ["sex", "site", *(["group"] if roles.group else [])]
    for name in [*labels, *(name for name in roles.covariates if name in participants)]:
        known = participants.set_index("participant_id")[name] if name in participants else {}
        values = scans["participant_id"].map(dict(known))
        scans[name] = values.astype(object) if name in labels else values
    scans["flagged"] = ~(scans["qc_flag"].isin(UNFLAGGED) & scans["ood_flag"].isin(UNFLAGGED))
    return scans


def _accuracy(scans: pd.DataFrame, seed: int) -> Accuracy:
    parts = [_metrics(scans, seed, "all"), _coverage(scans, "all")]
    if scans["flagged"].any() and not scans["flagged"].all():
        rest = scans[~scans["flagged"]]
        parts += [_metrics(rest, seed, "unflagged"), _coverage(rest, "unflagged")]
    decade = (scans["chronological_age"] // 10 * 10).map(_decade_name, na_action="ignore")
    for prefix, labels in _parts(scans, decade):
        parts.append(accuracy.by_subset(scans, labels, prefix=prefix, n_boot=N_BOOT, seed=seed))
    corrected = scans["gap_corrected"]
    if corrected.notna().any():
        parts.append(
            accuracy.corrected_gap(
                scans["chronological_age"].to_numpy(),
                corrected.to_numpy(),
                scans["participant_id"].to_numpy(),
                n_boot=N_BOOT,
                seed=seed,
            )
        )
    return accuracy.join(parts)


def _parts(scans: pd.DataFrame, decade: pd.Series) -> Sequence[tuple[str, pd.Series]]:
    names = [name for name in ("sex", "site", "group") if name in scans]
    return [*((name, scans[name]) for name in names), ("age", decade)]


def _decade_name(start: float) -> str:
    return f"{start:.0f}-{start + 9:.0f}"


def _metrics(scans: pd.DataFrame, seed: int, subset: str) -> Accuracy:
    return accuracy.metrics(
        scans["chronological_age"].to_numpy(),
        scans["predicted_age"].to_numpy(),
        scans["participant_id"].to_numpy(),
        n_boot=N_BOOT,
        seed=seed,
        subset=subset,
    )


def _coverage(scans: pd.DataFrame, subset: str) -> Accuracy:
    return accuracy.coverage(
        scans["chronological_age"].to_numpy(),
        scans["ci95_lower"].to_numpy(),
        scans["ci95_upper"].to_numpy(),
        scans["participant_id"].to_numpy(),
        subset=subset,
    )


def _atlas(
    result: AtlasResult, context: contributions.Context, found: contributions.Tables
) -> AtlasSummary:
    table = regions.contribution_table(
        _all_baselines(result), seed=context.seed, n_permutations=contributions.N_PERMUTATIONS
    )
    sentences = tuple(regions.notes(table))
    more = contributions.contribution_tables(result, context)
    more.add("literature", _literature(result, table, more.tables, context))
    found.notes += [*notes_of("occlusionstats", sentences), *more.notes]
    return AtlasSummary(result, table, sentences, more.tables)


def _all_baselines(result: AtlasResult) -> pd.DataFrame:
    """The main table and the rows of the other fills, which have fewer columns."""
    main, more = result.table, result.baselines
    if more.empty or main.empty:
        return main
    more = more[~more["baseline"].isin(main["baseline"].unique())]
    more = more.assign(abs_delta_age=more["delta_age"].abs())
    return pd.concat([main, more.reindex(columns=main.columns)], ignore_index=True)


def _literature(
    result: AtlasResult,
    table: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    context: contributions.Context,
) -> pd.DataFrame | None:
    levels = {level.name: level for level in contributions.levels_of(result.table)}
    if "region" not in levels:
        return None
    main = levels["region"].rows["baseline"].iloc[0]
    sides = (
        literature.hemisphere_differences(levels["hemisphere"].matrix, context.people["age"])
        if "hemisphere" in levels
        else None
    )
    chosen = table[table["baseline"].isin([main])]
    return literature.literature_table(chosen, tables.get("lifespanstats"), sides)


def _outliers(scans: pd.DataFrame, qc: pd.DataFrame) -> pd.DataFrame:
    found = [outliers.robust_outliers(scans, ["gap"])]
    if not qc.empty:
        found.append(outliers.robust_outliers(qc, QC_METRICS))
    table = pd.concat(found, ignore_index=True)
    reasons: dict[str, str] = {}
    if "decision_reason" in qc:
        reasons = dict(zip(qc["scan"], qc["decision_reason"], strict=True))
    return table.assign(reason=table["scan"].map(reasons))


def _exclusions(scans: pd.DataFrame, model: ModelResult) -> pd.DataFrame:
    rows = [
        (name, "everything", "no prediction; see the participant's report and log")
        for name in model.missing
    ]
    no_age = scans.loc[scans["chronological_age"].isna(), "scan"]
    rows += [(scan, "accuracy and gap", "chronological age unknown") for scan in no_age]
    for atlas in model.atlases:
        without = sorted(set(scans["scan"]) - set(atlas.table["scan"]))
        place = f"contributions ({atlas.title})"
        rows += [(scan, place, "no region table of this atlas") for scan in without]
    return pd.DataFrame(rows, columns=["scan", "left_out_of", "reason"])
