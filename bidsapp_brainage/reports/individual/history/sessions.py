"""Several scans of one person: their ages on one axis, what changed, and the same slices of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bidsapp_brainage.reports.html import Table, as_float, is_missing, number, slug
from bidsapp_brainage.reports.individual.history import detectable
from bidsapp_brainage.reports.individual.history.age_axis import AgeAxis, age_axis
from bidsapp_brainage.reports.individual.history.contributions import (
    AtlasHistory,
    Picture,
    atlas_history,
    inputs_picture,
)
from bidsapp_brainage.reports.individual.results import PredictionResult, ScanResult, SubjectResult
from bidsapp_brainage.reports.tables import Show, tabulate
from bidsapp_brainage.reports.wording import Notice
from bidsapp_brainage.stats.agreement.change import MIN_YEARS, Change


@dataclass(frozen=True)
class SessionsView:
    """What the template shows of the scans of one person by one model."""

    model: str
    axis: AgeAxis
    error: Notice
    changes: Table
    inputs: Picture | None
    atlases: tuple[AtlasHistory, ...]


@dataclass(frozen=True)
class _Timed:
    """A scan with a prediction."""

    scan: ScanResult
    model: PredictionResult

    @property
    def row(self) -> dict[str, object]:
        assert self.model.prediction is not None
        return dict(self.model.prediction.first)

    @property
    def age(self) -> float | None:
        age = self.row.get("chronological_age")
        return None if is_missing(age) else as_float(age)

    @property
    def label(self) -> str:
        """Name of the scan without that of the person, with the age."""
        name = "_".join(f"{key}-{value}" for key, value in self.scan.entities if key != "sub")
        age = "age not known" if self.age is None else f"{number(self.age)} years"
        return f"{name or self.scan.label} ({age})"


def sessions_views(output_dir: Path, result: SubjectResult) -> list[SessionsView]:
    """One view per model that predicted the age of two scans or more, in the order of the ages."""
    models = sorted({model.model for scan in result.scans for model in scan.models})
    views = []
    for name in models:
        timed = [
            _Timed(scan, model)
            for scan in result.scans
            for model in scan.models
            if model.model == name and _has_age(model)
        ]
        if len(timed) > 1:
            timed.sort(key=lambda each: (each.age is None, each.age or 0.0, each.scan.label))
            views.append(_view(output_dir, name, timed))
    return views


def _has_age(model: PredictionResult) -> bool:
    return model.prediction is not None and not is_missing(
        model.prediction.first.get("predicted_age")
    )


def _view(output_dir: Path, name: str, timed: Sequence[_Timed]) -> SessionsView:
    known = detectable.of_ages(output_dir, name)
    title = "Error of measurement" if known.values else "The error of measurement is not known"
    scans = [(each.label, each.model) for each in timed]
    atlases = {part.atlas for each in timed for part in each.model.regions}
    histories = [atlas_history(output_dir, name, atlas, scans) for atlas in sorted(atlases)]
    return SessionsView(
        model=name,
        axis=age_axis([(each.label, each.row) for each in timed]),
        error=Notice("", title, known.sentence, known.remedy),
        changes=_changes(name, timed, known),
        inputs=inputs_picture(scans),
        atlases=tuple(history for history in histories if history is not None),
    )


def _changes(name: str, timed: Sequence[_Timed], known: detectable.Detectable) -> Table:
    """Each scan against the one before it, and the last against the first."""
    pairs = list(zip(timed, timed[1:], strict=False))
    if len(timed) > 2:
        pairs.append((timed[0], timed[-1]))
    rows = [_change(earlier, later, known) for earlier, later in pairs]
    columns = [
        Show("earlier", "From", "name"),
        Show("later", "To", "name"),
        Show("years", "Years between", "number", 1),
        Show("predicted_age", "Predicted age", "signed", 1, "change of the predicted age, years"),
        Show("gap", "Gap", "signed", 1, "change of the gap: 0 if the predicted age kept pace"),
        Show("per_year", "Gap per year", "signed", 2, f"where scans are {MIN_YEARS:g} years apart"),
        Show("detectable", "Smallest detectable change", "number", 1, short=True),
        Show("reading", "The change is", cell=detectable.reading_cell),
    ]
    caption = "Changes between scans, in years; the last column is about the gap, or, where no age "
    caption += "is known, about the predicted age."
    return tabulate(slug("changes", name), caption, columns, pd.DataFrame(rows), sortable=False)


def _change(earlier: _Timed, later: _Timed, known: detectable.Detectable) -> dict[str, object]:
    predicted = _difference(earlier, later, "predicted_age")
    gap = _difference(earlier, later, "gap")
    years = _difference(earlier, later, "chronological_age")
    measure = "predicted_age" if gap is None else "gap"
    value = predicted if gap is None else gap
    assert value is not None
    change = Change(value, years, known.values.get(measure))
    return {
        "earlier": earlier.label,
        "later": later.label,
        "years": years,
        "predicted_age": predicted,
        "gap": gap,
        "per_year": None if gap is None else change.per_year,
        "detectable": change.detectable,
        "reading": change.reading,
    }


def _difference(earlier: _Timed, later: _Timed, name: str) -> float | None:
    values = [each.row.get(name) for each in (earlier, later)]
    if any(map(is_missing, values)):
        return None
    return as_float(values[1]) - as_float(values[0])
