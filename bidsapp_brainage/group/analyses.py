"""All analyses of a group, in one list: what each needs and the outputs that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

from bidsapp_brainage.bids.ratings import by_scan
from bidsapp_brainage.group import comparisons, predictions, repeats, sample
from bidsapp_brainage.group.calibration import (
    CALIBRATED,
    Z_SCORE,
    Calibration,
    calibrate_sites,
    calibrated,
    gap_name,
)
from bidsapp_brainage.group.collect import AtlasResult, ModelResult
from bidsapp_brainage.group.notes import Findings, Note, findings, notes_of, notes_table
from bidsapp_brainage.group.people import ParticipantColumns, training_notes
from bidsapp_brainage.group.ratings import Ratings, known_ratings, rating_tables, without_scans
from bidsapp_brainage.group.regional import (
    attributions,
    contributions,
    harmonisation,
    literature,
    patches,
)
from bidsapp_brainage.group.regional.levels import Level, atlas_levels, occluded_groups
from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.model.cards import AgeCard
from bidsapp_brainage.settings import Harmonise
from bidsapp_brainage.stats.correction.kfold import KFoldCorrection, kfold_correction
from bidsapp_brainage.stats.design import Design, make_design

N_BOOT = 2000
N_PERMUTATIONS = 999
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """What is known of a study besides the derivatives.

    The name of the dataset is compared with the training cohort on the model's card, which is None
    if the model is not installed here; the correction is one that the user gives to the group
    level. `calibrate` says on whom sites are calibrated, empty for no calibration; `harmonise` how
    effects of sites are removed in further columns and tables. The ratings are
    those of all scans. The factors, one row per participant, are those that the gap is tested
    against.
    """

    columns: ParticipantColumns = field(default_factory=ParticipantColumns)
    dataset_name: str = ""
    card: AgeCard | None = None
    bias_correction: BiasCorrection | None = None
    calibrate: Literal["", "reference", "everybody"] = ""
    harmonise: Harmonise = "none"
    ratings: Ratings = field(default_factory=Ratings)
    factors: pd.DataFrame | None = None


@dataclass(frozen=True)
class AtlasSample:
    """Contributions with one atlas, ready for the analyses.

    ``levels`` are those of the main baseline; ``groups`` were occluded as one.
    """

    result: AtlasResult
    groups: pd.DataFrame
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Sample:
    """The people of one model, ready for the analyses.

    Attributes
    ----------
    scans, people : DataFrame
        One row per scan: the predictions with ``sex``, ``site``, ``flagged`` and, after a
        calibration, calibrated values; one row per participant.
    calibration : Calibration or None
        Of the sites, if it was asked for.
    harmonised : Harmonised or None
        Values without effects of sites, if they were asked for.
    kfold, design, repeats
        Correction of the gap fitted within the dataset, linear model, scans of people with several:
        None where the sample does not support them.
    by_rating : mapping
        The same people by other lowest ratings than the one chosen.
    """

    model: ModelResult
    study: Study
    scans: pd.DataFrame
    people: pd.DataFrame
    calibration: Calibration | None
    harmonised: harmonisation.Harmonised | None
    kfold: KFoldCorrection | None
    design: Design | None
    repeats: repeats.Repeats | None
    atlases: tuple[AtlasSample, ...]
    n_boot: int
    n_permutations: int
    seed: int
    by_rating: Mapping[int, Sample] = field(default_factory=dict)

    @property
    def flagged(self) -> frozenset[str]:
        """Names of flagged scans."""
        return frozenset(self.scans.loc[self.scans["flagged"], "scan"])


@dataclass(frozen=True)
class OfSample:
    """An analysis of the whole sample; it may read the tables made before it.

    ``outputs`` are keys of cards in the catalogue. Those `of_ages` are made of models only that
    predict an age.
    """

    outputs: tuple[str, ...]
    run: Callable[[Sample, Tables], Findings]
    of_ages: bool = False


@dataclass(frozen=True)
class OfAtlas:
    """An analysis of each atlas; it may read the tables of this atlas made before it."""

    outputs: tuple[str, ...]
    run: Callable[[Sample, AtlasSample, Tables], Findings]
    of_ages: bool = False


#: Each analysis by itself takes frames and explicit parameters; here stands what it is given.
ANALYSES: tuple[OfSample | OfAtlas, ...] = (
    OfSample(("group_brainage",), lambda s, _: Findings({"group_brainage": _predictions(s)})),
    OfSample(("group_qc",), lambda s, _: findings("group_qc", s.model.qc)),
    OfSample(
        ("sample",),
        lambda s, _: findings("sample", sample.sample_table(s.scans, len(s.model.missing))),
    ),
    OfSample(
        ("exclusions",),
        lambda s, _: Findings(
            {
                "exclusions": sample.exclusion_table(
                    s.scans,
                    s.model.missing,
                    s.model.atlases,
                    s.calibration.refused if s.calibration else {},
                    s.study.ratings.reasons,
                )
            }
        ),
    ),
    OfSample(("scanratings", "rateragreement"), lambda s, _: rating_tables(s.study.ratings)),
    OfSample(
        ("outliers",),
        lambda s, _: Findings({"outliers": sample.outlier_table(s.scans, s.model.qc)}),
    ),
    OfSample(
        ("sitecalibration",),
        lambda s, _: findings("sitecalibration", s.calibration.table if s.calibration else None),
    ),
    OfSample(
        ("harmonisation",),
        lambda s, _: findings("harmonisation", s.harmonised.table if s.harmonised else None),
    ),
    OfSample(("harmonisedvolumes",), lambda s, _: _harmonised_volumes(s)),
    OfAtlas(("harmonised",), lambda s, a, _: _harmonised(s, a)),
    OfSample(
        ("gaps",),
        lambda s, _: predictions.gaps(
            s.scans,
            s.kfold,
            s.study.columns.group,
            s.study.bias_correction,
            s.calibration.table if s.calibration else None,
            s.harmonised.gap if s.harmonised else None,
        ),
        of_ages=True,
    ),
    OfSample(("gapmodel",), lambda s, _: _gap_model(s), of_ages=True),
    OfSample(
        ("factors",),
        lambda s, _: predictions.factors(s.people, _gap_design(s), s.study.factors),
        of_ages=True,
    ),
    OfSample(
        ("grouppairs", "groupseparation", "grouproc"),
        lambda s, _: predictions.groups(s.people, _gap_design(s), n_boot=s.n_boot, seed=s.seed),
        of_ages=True,
    ),
    OfSample(
        ("reliability", "change"),
        lambda s, _: repeats.reliability_and_change(s.scans, s.repeats),
        of_ages=True,
    ),
    OfSample(
        ("pace", "pacepower"),
        lambda s, _: repeats.pace(s.scans, s.study.columns.reference),
        of_ages=True,
    ),
    OfSample(
        ("group_predictions", "targets", "confusion"),
        lambda s, _: predictions.targets(
            s.model.frames["predictions"], n_boot=s.n_boot, seed=s.seed
        ),
    ),
    OfAtlas(
        ("occlusionstats",),
        lambda s, a, _: contributions.mean_contributions(
            a.result.table,
            a.result.baselines,
            a.groups,
            n_permutations=s.n_permutations,
            seed=s.seed,
        ),
    ),
    OfAtlas(
        ("occlusionmodel",),
        lambda s, a, _: contributions.models(
            a.levels, s.design, n_permutations=s.n_permutations, seed=s.seed
        ),
    ),
    OfAtlas(
        ("occlusionreliability",),
        lambda s, a, _: repeats.contribution_reliability(a.levels, s.repeats),
    ),
    OfAtlas(
        ("lifespan", "lifespanstats"),
        lambda s, a, _: contributions.lifespan_curves(a.levels, s.people["age"]),
    ),
    OfAtlas(("agegroups",), lambda s, a, _: contributions.age_groups(a.levels, s.people["age"])),
    OfAtlas(
        ("asymmetry",),
        lambda s, a, _: contributions.left_against_right(
            a.levels, n_permutations=s.n_permutations, seed=s.seed
        ),
    ),
    OfAtlas(("stability",), lambda s, a, _: contributions.ranking_stability(a.levels, seed=s.seed)),
    OfAtlas(("agreementstats",), lambda s, a, _: comparisons.agreement(a.result.agreement)),
    OfAtlas(
        ("attributionstats",),
        lambda s, a, _: attributions.mean_attributions(a.result.frames, s.people["age"]),
    ),
    OfAtlas(("patchagestats",), lambda s, a, _: patches.mean_patch_ages(a.result.frames)),
    OfAtlas(
        ("literature",),
        lambda s, a, made: literature.published_claims(
            made["occlusionstats"],
            made.get("lifespanstats"),
            made.get("attributionstats"),
            a.levels,
            s.people["age"],
        ),
        of_ages=True,
    ),
    OfSample(("metrics",), lambda s, _: predictions.metrics(s.scans, n_boot=s.n_boot, seed=s.seed)),
    OfSample(
        ("sensitivity",),
        lambda s, made: comparisons.sensitivity(
            made["metrics"],
            [(a.result, a.levels) for a in s.atlases],
            s.flagged,
            _by_rating(s, made),
        ),
    ),
)
NOTES = "notes"


@dataclass(frozen=True)
class Summary:
    """One model's results for a sample.

    ``tables`` are those of the sample by the key of the output, only what the sample supports;
    ``atlas_tables`` the same for each atlas of the model. The notes are the table ``notes``, too.
    """

    model: ModelResult
    tables: Tables
    atlas_tables: tuple[Tables, ...]
    notes: tuple[Note, ...]


def summarise(
    model: ModelResult,
    participants: pd.DataFrame,
    study: Study | None = None,
    *,
    seed: int,
    unreadable: tuple[str, ...] = (),
) -> Summary:
    """Run all analyses of one model's results.

    `participants` has ``participant_id`` and, where known, ``sex``, ``site``, ``group`` and
    covariates; it may be empty. `unreadable` are sentences about tables that could not be read; the
    seed is that of bootstrap and permutations.

    Raises
    ------
    NoInputError
        All scans are left out for their ratings.
    """
    study = study or Study()
    ratings = study.ratings.of(model)
    study = replace(study, ratings=ratings)
    kept = without_scans(model, ratings.below(ratings.minimum))
    prepared, notes = prepare(kept, participants, study, seed=seed)
    others = ratings.other_minimums(frozenset(model.brainage["scan"]))
    by_rating = {
        minimum: prepare(
            without_scans(model, ratings.below(minimum)),
            participants,
            replace(study, harmonise="none"),
            seed=seed,
        )[0]
        for minimum in others
    }
    prepared = replace(prepared, by_rating=by_rating)
    notes = [*notes_of("unreadable", unreadable, "warning"), *notes]
    tables: dict[str, pd.DataFrame] = {}
    of_atlas: tuple[dict[str, pd.DataFrame], ...] = tuple({} for _ in prepared.atlases)
    notes_of_atlas: tuple[list[Note], ...] = tuple([] for _ in prepared.atlases)
    notes_of_sample: list[Note] = []
    of_ages = predictions.predict_ages(prepared.scans)
    for analysis in ANALYSES:
        if analysis.of_ages and not of_ages:
            continue
        if isinstance(analysis, OfSample):
            merged = [(tables, notes_of_sample, analysis.run(prepared, tables))]
        else:
            places = zip(prepared.atlases, of_atlas, notes_of_atlas, strict=True)
            merged = [(made, said, analysis.run(prepared, a, made)) for a, made, said in places]
        for made, said, result in merged:
            made.update(result.tables)
            said.extend(result.notes)
    every_note = (*notes, *(note for said in notes_of_atlas for note in said), *notes_of_sample)
    return Summary(kept, {**tables, NOTES: notes_table(every_note)}, of_atlas, every_note)


def prepare(
    model: ModelResult, participants: pd.DataFrame, study: Study, *, seed: int
) -> tuple[Sample, list[Note]]:
    """Everything that several analyses need, and notes about what the sample does not support."""
    columns = study.columns
    scans = sample.scan_table(model.brainage, participants, columns)
    of_ages = predictions.predict_ages(scans)
    reference = sample.in_reference_group(scans, columns)
    kfold, kfold_notes = kfold_correction(scans, reference) if of_ages else (None, [])
    if kfold is not None:
        scans["gap_kfold"] = kfold.gap
    calibration = _calibration(scans, reference, study) if of_ages else None
    if calibration is not None:
        scans = scans.join(calibration.values)
    people = sample.person_table(calibrated(scans), model.qc, columns.covariates)
    design, design_notes = make_design(
        people, covariates=columns.covariates, reference=columns.reference
    )
    chosen, repeat_notes = repeats.choose_repeats(scans)
    atlases, atlas_notes = [], []
    for result in model.atlases:
        groups = occluded_groups(result, scans)
        levels, level_notes = atlas_levels(result, groups)
        atlases.append(AtlasSample(result, groups, tuple(levels)))
        atlas_notes += level_notes
    harmonised = None
    if study.harmonise != "none":
        regions = [(atlas.result.title, atlas.levels[0]) for atlas in atlases if atlas.levels]
        harmonised = harmonisation.harmonise(
            scans, reference, regions, study.harmonise, model.volumes
        )
    labels = sorted(set(model.brainage["participant_id"]))
    prepared = Sample(
        model=model,
        study=study,
        scans=scans,
        people=people,
        calibration=calibration,
        harmonised=harmonised,
        kfold=kfold,
        design=design,
        repeats=chosen,
        atlases=tuple(atlases),
        n_boot=N_BOOT,
        n_permutations=N_PERMUTATIONS,
        seed=seed,
    )
    return prepared, [
        *training_notes(study.card, study.dataset_name, labels),
        *notes_of("collection", model.notes, "warning"),
        *(calibration.notes if calibration else ()),
        *(harmonised.notes if harmonised else ()),
        *notes_of("gaps", kfold_notes),
        *notes_of("gapmodel and occlusionmodel", design_notes),
        *repeat_notes,
        *atlas_notes,
    ]


def _calibration(scans: pd.DataFrame, named: pd.Series, study: Study) -> Calibration | None:
    """Calibrate the sites, if that was asked for, beginning with the line of the model card."""
    if not study.calibrate:
        return None
    everybody = pd.Series(True, index=scans.index)
    reference = everybody if study.calibrate == "everybody" else named
    return calibrate_sites(scans, reference, study.card.bias_correction if study.card else None)


def _harmonised(prepared: Sample, atlas: AtlasSample) -> Findings:
    """Contributions of all scans and regions, as computed and harmonised."""
    if prepared.harmonised is None or not atlas.levels:
        return Findings({})
    titles = [other.result.title for other in prepared.atlases if other.levels]
    values = prepared.harmonised.contributions[titles.index(atlas.result.title)]
    table = harmonisation.harmonised_table(atlas.levels[0], values, prepared.scans)
    return findings("harmonised", table)


def _harmonised_volumes(prepared: Sample) -> Findings:
    """Volumes of all scans and regions, as computed and harmonised."""
    if prepared.harmonised is None or prepared.harmonised.volumes.empty:
        return Findings({})
    table = harmonisation.volume_table(
        prepared.model.volumes, prepared.harmonised.volumes, prepared.scans
    )
    return findings("harmonisedvolumes", table)


def _gap_model(prepared: Sample) -> Findings:
    """The gap, calibrated where that was done, explained by what is known of the people."""
    design = _gap_design(prepared)
    return predictions.gap_model(prepared.people, design, gap_name(prepared.scans))


def _gap_design(prepared: Sample) -> Design | None:
    """The design; where sites were refused, that of the fewer people with a calibrated gap."""
    if prepared.calibration is None or not prepared.calibration.refused:
        return prepared.design
    columns, known = prepared.study.columns, prepared.people.dropna(subset="gap")
    return make_design(known, covariates=columns.covariates, reference=columns.reference)[0]


def _by_rating(prepared: Sample, made: Tables) -> list[dict[str, object]]:
    """The main results with other lowest ratings: rows of the table ``sensitivity``."""
    main = comparisons.key_numbers(made["metrics"], gapmodel=made.get("gapmodel"))
    rows = []
    for minimum, other in prepared.by_rating.items():
        analysis = f"min_rating={minimum}"
        numbers = comparisons.key_numbers(
            predictions.overall(other.scans), gapmodel=_gap_model(other).tables.get("gapmodel")
        )
        rows += comparisons.compare_numbers(analysis, main, numbers)
        levels = {atlas.result.title: atlas.levels for atlas in other.atlases}
        for atlas in prepared.atlases:
            title = atlas.result.title
            rows += comparisons.compare_contributions(
                analysis, title, atlas.levels, levels.get(title, ())
            )
    return rows


def _predictions(prepared: Sample) -> pd.DataFrame:
    """Predictions as the participant level wrote them, with what is known of the people."""
    names = ("sex", "site", "group", "flagged", "gap_kfold", *CALIBRATED.values(), Z_SCORE)
    known = {name: prepared.scans[name] for name in names if name in prepared.scans}
    if prepared.harmonised is not None:
        known[harmonisation.HARMONISED] = prepared.harmonised.gap
    ratings = prepared.study.ratings
    judged = sample.verdicts(prepared.scans, prepared.model.qc, by_scan(ratings.table))
    rated = known_ratings(ratings, prepared.scans["scan"])
    return prepared.model.brainage.assign(**known, **judged, **rated)
