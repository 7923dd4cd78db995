"""What the page shows of one prediction and its quality: numbers, words, a line of ages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bidsapp_brainage.bids.derivatives import TableFile
from bidsapp_brainage.catalogue.quantity import AN_AGE, Quantity
from bidsapp_brainage.imaging.expected import (
    REFERENCE,
    REFERENCE_PEOPLE,
    VOLUME_LIMITS,
    expected,
    outside,
)
from bidsapp_brainage.model.provenance import TrainingCohort
from bidsapp_brainage.reports import wording
from bidsapp_brainage.reports.codes import unit_title
from bidsapp_brainage.reports.html import (
    MISSING,
    Cell,
    Column,
    Table,
    is_missing,
    number,
    significant,
    slug,
)
from bidsapp_brainage.reports.individual.age_places import AgePlaces, age_places, known_ages
from bidsapp_brainage.reports.individual.results import PredictionResult, ScanResult
from bidsapp_brainage.reports.tables import Show, tabulate, with_values
from bidsapp_brainage.stats.verdicts import Verdict, scan_verdict

_CORRECTED = "freed from the model's regression to the mean"
_BADGES = {"pass": "ok", "warn": "warn", "fail": "bad"}
#: Not among the numbers: they stand at the top of the page, the verdict with what raters said.
_ELSEWHERE = (
    "participant_id",
    "session_id",
    "run_id",
    "scan",
    "model",
    "verdict",
    "verdict_reasons",
)


@dataclass(frozen=True)
class AgeLine(AgePlaces):
    """Marks on a line of ages, with the ages of its ends."""

    first: str
    last: str


@dataclass(frozen=True)
class PredictionView:
    """Numbers and words about one prediction.

    What the network predicts beside an age stands in `targets`; `about` is what is explained, and
    `value` its value where it is no age.
    """

    row: Mapping[str, object]
    age_range: tuple[float, float] | None
    verdict: Verdict
    line: AgeLine | None
    numbers: Table
    expected: tuple[float, float] | None
    about: Quantity = AN_AGE
    targets: Table | None = None
    value: float | None = None

    @property
    def interval(self) -> str:
        """95 % interval as text."""
        low, high = self.row.get("ci95_lower"), self.row.get("ci95_upper")
        if is_missing(low) or is_missing(high):
            return MISSING
        return f"{number(low)} to {number(high)}"


def age_range(sidecar: Mapping[str, object]) -> tuple[float, float] | None:
    """Training ages from a sidecar, None if it does not tell."""
    return TrainingCohort.from_model(sidecar.get("Model")).age_range


def prediction_view(scan: ScanResult, result: PredictionResult) -> PredictionView | None:
    """Give what is shown of one prediction; None when there is none."""
    if result.prediction is None or not result.prediction.first:
        return None
    row = result.prediction.first
    about, answers = Quantity.from_model(result.prediction.sidecar.get("Model")), result.answers
    if about.is_age and is_missing(row.get("predicted_age")):
        return None
    known_range = age_range(result.prediction.sidecar)
    table = _dictionary_table(
        result.prediction,
        slug("numbers", scan.label, result.model),
        f"All numbers of this prediction ({result.prediction.path.name}).",
        [name for name in row if name not in _ELSEWHERE],
    )
    line = _age_line(row, result.distribution, known_range)
    return PredictionView(
        row,
        known_range,
        verdict_of(scan, result),
        line,
        table,
        _expected(result, row),
        about,
        _targets(answers, slug("targets", scan.label, result.model)),
        None if about.is_age else _explained(answers),
    )


def _targets(answers: TableFile | None, identifier: str) -> Table | None:
    """Everything that the network predicts, with the true values that are known."""
    if answers is None or answers.rows is None or answers.rows.empty:
        return None
    rows = answers.rows.assign(
        predicted=answers.rows["predicted"].map(lambda value: "yes" if _is_true(value) else "")
    )
    columns = [
        Show("target", "Target", "name"),
        Show("class", "Class", "name"),
        Show("value", "Predicted", "number", 2, "a number, or the probability of the class"),
        Show("unit", "Unit", cell=lambda unit: Cell(unit_title(str(unit)))),
        Show("ci95", "95 % interval", "interval", 2),
        Show("member_sd", "SD of members", "number", 2, "over the networks of the ensemble"),
        Show("predicted", "Likeliest", "name", help="class with the largest probability"),
        Show("true_value", "True value", "name", help="from participants.tsv"),
    ]
    caption = f"All that the network predicts ({answers.path.name})."
    return tabulate(identifier, caption, with_values(rows, columns), rows, sortable=False)


def _explained(answers: TableFile | None) -> float | None:
    """The number or probability that is explained."""
    if answers is None or answers.rows is None:
        return None
    known = answers.rows.loc[answers.rows["explained"].map(_is_true), "value"]
    return float(known.iloc[0]) if len(known) else None


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def verdict_of(
    scan: ScanResult, result: PredictionResult | None = None, failure: str = ""
) -> Verdict:
    """What is to be thought of the prediction of one model, if there is one.

    `failure` says which step failed and why, empty where none did.
    """
    tables = (None, None) if result is None else (result.prediction, result.quality)
    row, checks = (table.first if table else None for table in tables)
    return scan_verdict(row, checks, scan.ratings, failure=failure)


def _expected(result: PredictionResult, row: Mapping[str, object]) -> tuple[float, float] | None:
    """Mean and SD of predictions for unseen people of the same age; None if unknown."""
    age = row.get("chronological_age")
    if result.prediction is None or is_missing(age):
        return None
    return TrainingCohort.from_model(result.prediction.sidecar.get("Model")).expected(
        float(str(age))
    )


def age_caption(result: PredictionResult) -> str:
    """Caption of the figure of the predicted age."""
    rows = None if result.distribution is None else result.distribution.rows
    if rows is None or "probability" not in rows or rows["probability"].isna().all():
        above = (
            "This model answers with one number, so there is no distribution of ages to show, only "
            "the interval, where the model has one."
        )
    else:
        above = (
            "Bars: probability of each age bin as the network gave it"
            f"{_darker(result)}. The predicted age is the mean of this distribution."
        )
    cohort = TrainingCohort()
    if result.prediction is not None:
        cohort = TrainingCohort.from_model(result.prediction.sidecar.get("Model"))
    if cohort.age_range is None:
        return above
    who = f" ({cohort.n_people} people, {cohort.name})" if cohort.n_people and cohort.name else ""
    return (
        f"{above} Hatched: ages that the model was not trained on. Below: the training cohort{who}"
        " and the predictions for reference people of this age; thin lines are the 95 % interval "
        "(of ages: youngest to oldest), thick ones the mean with one standard deviation."
    )


def _darker(result: PredictionResult) -> str:
    """What the darker bars are, and where the interval comes from."""
    row = {} if result.prediction is None else result.prediction.first
    if is_missing(row.get("ci95_lower")):
        return " (the model's card has no calibration, so there is no interval)"
    model = {} if result.prediction is None else result.prediction.sidecar.get("Model")
    how = model.get("Interval") if isinstance(model, dict) else None
    return ", darker inside the 95 % interval" + (f", {how}" if how else "")


def modality_table(scan: ScanResult, result: PredictionResult) -> Table | None:
    """Ages from single modalities, and without each of them; None of models that see one image."""
    file = result.tables.get("modalities")
    if file is None or file.rows is None or file.rows.empty:
        return None
    about = Quantity.from_model(file.sidecar.get("Model"))
    what, unit = about.noun[:1].upper() + about.noun[1:], about.units
    columns = [
        Show("modality", "Modality", "name"),
        Show("predicted_age", f"{what} from it alone", "number", 1, unit),
        Show(
            "predicted_age_without", f"{what} without it", "number", 1, f"from the others, {unit}"
        ),
        Show("delta_age", "Change without it", "signed", 1, f"against the prediction, {unit}"),
    ]
    caption = (
        f"{what} by modality, {unit} ({file.path.name}). What is predicted is the mean over the "
        "modalities that are there."
    )
    return tabulate(slug("modalities", scan.label, result.model), caption, columns, file.rows)


def quality_table(scan: ScanResult, result: PredictionResult) -> Table | None:
    """Metrics with what they mean; None when there are none."""
    if result.quality is None or not result.quality.first:
        return None
    caption = (
        f"Image quality and registration ({result.quality.path.name}). Expected: beyond it the "
        f"checks ask for a look. In brackets: what was seen in {REFERENCE_PEOPLE}; no limits, for "
        "other scanners have other values."
    )
    row = result.quality.first
    names = [name for name in row if name not in (*VOLUME_LIMITS, *_ELSEWHERE)]
    table = _dictionary_table(
        result.quality, slug("quality", scan.label, result.model), caption, names
    )
    rows = [
        [cells[0], _value_cell(cells[1], row, name), _expected_cell(row, name), *cells[2:]]
        for cells, name in zip(table.rows, names, strict=True)
    ]
    columns = [*table.columns[:2], Column("Expected"), *table.columns[2:]]
    return replace(table, columns=columns, rows=rows)


def _value_cell(cell: Cell, row: Mapping[str, object], name: str) -> Cell:
    """A value with a badge where it lies beyond its limits."""
    value = row[name]
    beyond = isinstance(value, (int, float)) and outside(value, expected(row, name))
    return replace(cell, level="warn") if beyond else cell


def _expected_cell(row: Mapping[str, object], name: str) -> Cell:
    low, high = expected(row, name)
    if low is not None and high is not None:
        return Cell(f"{significant(low)} to {significant(high)}")
    if low is not None:
        return Cell(f"{significant(low)} or more")
    if high is not None:
        return Cell(f"{significant(high)} or less")
    if name in REFERENCE:
        first, *_, last = (significant(float(f"{value:.3g}")) for value in REFERENCE[name])
        return Cell(f"({first} to {last})")
    return Cell("")


def scan_table(scans: Sequence[tuple[ScanResult, str, PredictionView | None]]) -> Table:
    """One row per scan and model."""
    columns = [
        Show("scan", "Scan", "name"),
        Show("model", "Model", "name"),
        Show("predicted_age", "Predicted age", "number", 1),
        Show("interval", "95 % interval", "name"),
        Show("chronological_age", "Chronological age", "number", 1),
        Show("gap", "Gap", "signed", 1, "predicted minus chronological age, years"),
        Show("gap_corrected", "Corrected gap", "signed", 1, _CORRECTED),
        Show("level", "Verdict", cell=_verdict_cell),
    ]
    rows = []
    for scan, model, view in scans:
        own: dict[str, object] = {"scan": scan.label, "model": model}
        if view is not None:
            own = {
                **view.row,
                **own,
                "interval": view.interval,
                "level": view.verdict.level,
            }
        rows.append(own)
    caption = "All scans of this participant; ages and gaps in years."
    return tabulate("scans", caption, columns, pd.DataFrame(rows), sortable=len(rows) > 1)


def _verdict_cell(level: object) -> Cell:
    if is_missing(level):
        return Cell("no prediction", level="bad")
    return Cell(str(level), level=wording.BADGES[level])


def _age_line(
    row: Mapping[str, object], distribution: TableFile | None, known: tuple[float, float] | None
) -> AgeLine | None:
    values = known_ages(row)
    if distribution is not None and distribution.rows is not None:
        values += [distribution.rows["age_lower"].min(), distribution.rows["age_upper"].max()]
    values += list(known or ())
    first, last = min(values, default=0.0), max(values, default=0.0)
    if last <= first or is_missing(row.get("predicted_age")):
        return None
    places = age_places(row, first, last)
    return AgeLine(**vars(places), first=number(first, 0), last=number(last, 0))


def _dictionary_table(
    table: TableFile, identifier: str, caption: str, names: Sequence[str]
) -> Table:
    """The named columns of a one-row table as rows, with their data dictionary."""
    rows = []
    for name in names:
        value = table.first[name]
        facts = table.sidecar.get(name)
        facts = facts if isinstance(facts, dict) else {}
        title = str(facts.get("LongName") or name)
        shown = significant(value)
        units = facts.get("Units")
        if units and shown != MISSING:
            shown += f" {units}" if units != "year" else " years"
        rows.append(
            [
                Cell(title),
                Cell(shown, level=_BADGES.get(str(value), "")),
                Cell(str(facts.get("Description", ""))),
                Cell(name),
            ]
        )
    columns = [Column("Measure"), Column("Value"), Column("Meaning", wrap=True), Column("Column")]
    return Table(identifier, caption, columns, rows, sortable=False)
