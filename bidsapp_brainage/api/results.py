"""What was predicted of an image, as a value that can be explained, drawn and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import errors
from bidsapp_brainage.api.app import checked, run_app
from bidsapp_brainage.api.loose import read_files
from bidsapp_brainage.bids.derivatives import Entities, Reports, TableFile, scan_name
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import BrainageError, NoInputError
from bidsapp_brainage.settings import all_options

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bidsapp_brainage.reports.individual.results import PredictionResult, ScanResult
    from bidsapp_brainage.stats.verdicts import Reason, Verdict

#: What explaining again needs of the options by which an age was predicted.
_KEPT = (
    *("model", "models_dir", "atlases_dir", "nprocs", "omp_nthreads", "memory_gb"),
    *("device", "verbose"),
)


@dataclass(frozen=True, eq=False)
class BrainAge:
    """The predicted age of one image.

    Attributes
    ----------
    label : str
        Name of the scan in the output, for example ``sub-t1``.
    file : str
        Name of the image as it was given; empty for images of a BIDS dataset.
    model : str
        Name of the model.
    predicted_age : float or None
        Years; None of a model that predicts no age.
    interval : (float, float) or None
        Ends of the 95 % interval in years; None if the model has none.
    age : float or None
        Chronological age in years, as far as it is known.
    gap, gap_corrected : float or None
        Predicted minus chronological age in years, as predicted and without the model's regression
        to the mean.
    verdict : Verdict
        Whether the number can be used: ``level``, ``summary``, ``advice`` and all ``reasons``.
    row : mapping of str to object
        All columns of ``*_brainage.tsv``.
    predictions : pandas.DataFrame
        Everything that the model predicts, as in ``*_predictions.tsv``: a row for each number and
        one for each class, with ``target``, ``class``, ``value`` (of classes their probability),
        ``unit``, ``ci95_lower``, ``ci95_upper``, ``true_value`` and more. Of a model that predicts
        an age and nothing else it is one row.
    output_dir : Path
        Where all files lie.
    """

    label: str
    file: str
    model: str
    predicted_age: float | None
    interval: tuple[float, float] | None
    age: float | None
    gap: float | None
    gap_corrected: float | None
    verdict: Verdict = field(repr=False)
    row: Mapping[str, object] = field(repr=False)
    predictions: pd.DataFrame = field(repr=False)
    output_dir: Path = field(repr=False)
    _entities: Entities = field(repr=False)
    _options: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def flags(self) -> tuple[Reason, ...]:
        """Reasons to doubt the number, each with ``title``, ``text`` and ``remedy``."""
        return self.verdict.doubts

    def explain(self, atlas: str | Path | None = None, **options: Any) -> pd.DataFrame:
        """What every region of an atlas contributes to the predicted age.

        What was computed by the same choices before is kept; else the regions are occluded now
        (``--explain-only``), and the page is made again.

        Parameters
        ----------
        atlas : str or Path, optional
            Name of an atlas, or its label image; by default the embedded one.
        **options
            Further options of the participant level by their names, for example
            ``explain=("occlusion", "lrp")`` or ``occlusion_baseline="mean"``.

        Returns
        -------
        pandas.DataFrame
            One row for each region: ``name``, ``delta_age`` (years) and more; see the page of
            columns.

        Raises
        ------
        UsageError
            An option does not exist or has an impossible value, or there is no such atlas.
        BrainageError
            The run failed.
        """
        given = checked(
            {**options, **({} if atlas is None else {"atlas": str(atlas)})}, all_options()
        )
        labels = dict(self._entities)
        chosen = {**self._options, "model": self._card(), "explain_only": True, **given}
        chosen["participant_label"] = (labels["sub"],)
        for key, name in (("ses", "session_label"), ("run", "run_label")):
            chosen |= {name: (labels[key],)} if key in labels else {}
        if not run_app(self.output_dir / "raw", self.output_dir, "participant", chosen):
            failure = failure_of(self.output_dir, self._entities, self.label)
            raise failure or BrainageError(f"{self.label}: see the messages of the run.")
        return self._regions(_atlas_name(chosen))

    def _card(self) -> str:
        """The model as it was given, if that was the path of its card; else its name."""
        from bidsapp_brainage.model.cards import name_of_card

        given = str(self._options.get("model", self.model))
        return given if name_of_card(given) == self.model else self.model

    def _regions(self, atlas: str) -> pd.DataFrame:
        _, result = self._stored()
        for regions in result.regions:
            table = regions.table
            if regions.atlas == atlas and table is not None and table.rows is not None:
                return table.rows
        raise NoInputError(f"{self.output_dir} has no contributions of {atlas} for {self.label}.")

    def plot(self) -> Figure:
        """Draw the distribution of the predicted age beside the people of the training.

        Returns
        -------
        matplotlib.figure.Figure
            As in the report; ``.savefig("age.png")`` keeps it.

        Raises
        ------
        NoInputError
            The model predicts no age.
        """
        from bidsapp_brainage.model.provenance import TrainingCohort
        from bidsapp_brainage.reports.figures.age import draw_age_distribution

        if self.predicted_age is None:
            raise NoInputError(f"{self.model} predicts no age to draw: see `predictions`.")
        _, result = self._stored()
        table, bins = _prediction(result), result.distribution
        cohort = TrainingCohort.from_model(table.sidecar.get("Model"))
        return draw_age_distribution(table.path, None if bins is None else bins.path, cohort)

    def report(self) -> Path:
        """The page of the person, one HTML file that holds everything.

        Raises
        ------
        NoInputError
            It is not there any more.
        """
        page = Reports(self.output_dir).page(self.label)
        if page is None:
            raise NoInputError(
                f"{self.output_dir} has no page of {self.label}: predict again, or make it by "
                "--reports-only."
            )
        return page

    def _stored(self) -> tuple[ScanResult, PredictionResult]:
        """What the derivatives say now."""
        for scan, result in _stored(self.output_dir, dict(self._entities)["sub"]):
            if (scan.label, result.model) == (self.label, self.model):
                return scan, result
        raise NoInputError(f"{self.output_dir} has no prediction of {self.label} any more.")


def read(
    output_dir: str | Path,
    *,
    participants: Sequence[str] = (),
    model: str = "",
    options: Mapping[str, Any] | None = None,
) -> tuple[BrainAge, ...]:
    """Read all predicted ages of an output folder, by whatever run they were made.

    Parameters
    ----------
    output_dir : str or Path
        Derivatives of this app.
    participants : sequence of str, optional
        Only these, by their labels without ``sub-``.
    model : str, optional
        Only predictions of this model.
    options : mapping, optional
        Options of :meth:`BrainAge.explain` for all of them, for example ``models_dir``.

    Returns
    -------
    tuple of BrainAge
        In the order of their labels; none for scans without a prediction.
    """
    from bidsapp_brainage.bids.derivatives import tried_participants

    folder = Path(output_dir).expanduser().absolute()
    files = {row["participant_id"]: row["file"] for row in read_files(folder)}
    kept = {name: value for name, value in (options or {}).items() if name in _KEPT}
    found = []
    all_labels = (name.removeprefix("sub-") for name in tried_participants(folder))
    for label in participants or sorted(all_labels):
        for scan, result in _stored(folder, label):
            if model in ("", result.model):
                file = files.get(f"sub-{label}", "")
                found.append(_value(folder, scan, result, file, kept))
    return tuple(found)


def failure_of(output_dir: Path, entities: Entities, name: str) -> BrainageError | None:
    """Why the newest run did not finish a scan, as an error of the class that ended it.

    Parameters
    ----------
    output_dir : Path
    entities : pairs
        Of the scan.
    name : str
        How the message calls it.
    """
    from bidsapp_brainage.bids.run_records import read_runs

    label, runs = scan_name(entities), read_runs(output_dir, dict(entities)["sub"])
    own = [failed for failed in runs[-1].failures if failed.scan == label] if runs else []
    if not own:
        return None
    kind = getattr(errors, own[0].error, BrainageError)
    staged = re.compile(rf"(\S*/)?{label}_T1w\.nii(\.gz)?(: )?")
    error: BrainageError = kind(f"{name}: {staged.sub('', own[0].reason, count=1)}")
    return error


def _stored(output_dir: Path, subject: str) -> list[tuple[ScanResult, PredictionResult]]:
    """Scans of a participant with a prediction."""
    from bidsapp_brainage.reports.individual.results import read_subject

    scans = read_subject(output_dir, subject).scans
    return [(scan, result) for scan in scans for result in scan.models if _is_there(result)]


def _is_there(result: PredictionResult) -> bool:
    return _number(_row(result).get("predicted_age")) is not None or result.answers is not None


def _row(result: PredictionResult) -> Mapping[str, object]:
    return {} if result.prediction is None else result.prediction.first


def _prediction(result: PredictionResult) -> TableFile:
    assert result.prediction is not None  # or there would be no age
    return result.prediction


def _value(
    output_dir: Path,
    scan: ScanResult,
    result: PredictionResult,
    file: str,
    options: Mapping[str, Any],
) -> BrainAge:
    from bidsapp_brainage.reports.individual.prediction_view import verdict_of

    row = _row(result)
    predicted, low, high = (
        _number(row.get(name)) for name in ("predicted_age", "ci95_lower", "ci95_upper")
    )
    return BrainAge(
        label=scan.label,
        file=file,
        model=result.model,
        predicted_age=predicted,
        interval=None if low is None or high is None else (low, high),
        age=_number(row.get("chronological_age")),
        gap=_number(row.get("gap")),
        gap_corrected=_number(row.get("gap_corrected")),
        verdict=verdict_of(scan, result),
        row=row,
        predictions=_predictions(result, row),
        output_dir=output_dir,
        _entities=scan.entities,
        _options=options,
    )


def _predictions(result: PredictionResult, row: Mapping[str, object]) -> pd.DataFrame:
    """Rows of all targets; that of the age where the model predicts nothing else."""
    import pandas as pd

    if result.answers is not None and result.answers.rows is not None:
        return result.answers.rows
    told = {name: row.get(name) for name in ("model", "member_sd", "ci95_lower", "ci95_upper")}
    told |= {"target": "age", "value": row.get("predicted_age"), "unit": "year"}
    told |= {"true_value": row.get("chronological_age"), "explained": True}
    return pd.DataFrame([told]).reindex(columns=columns_of("predictions")[3:])


def _number(value: object) -> float | None:
    from bidsapp_brainage.reports.html import is_missing

    return None if is_missing(value) else float(str(value))


def _atlas_name(options: Mapping[str, Any]) -> str:
    """How the results call an atlas."""
    import tempfile

    from bidsapp_brainage.atlas.registry import load_atlas
    from bidsapp_brainage.atlas.templates import prepare_home

    spec = str(options.get("atlas", all_options()["atlas"].default))
    with tempfile.TemporaryDirectory(prefix="brainage-") as scratch:
        atlas = load_atlas(
            spec, atlases_dir=options.get("atlases_dir"), home=prepare_home(Path(scratch))
        )
    return " ".join(value for value in atlas.entities.values() if value)
