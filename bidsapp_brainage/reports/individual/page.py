"""One self-contained HTML page per participant, made from derivatives and facts about the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.dataset import shows_synthetic_people
from bidsapp_brainage.bids.derivatives import scan_name
from bidsapp_brainage.bids.names import report_path
from bidsapp_brainage.catalogue.quantity import AN_AGE, Quantity
from bidsapp_brainage.io import write_text
from bidsapp_brainage.reports import wording
from bidsapp_brainage.reports.cohort.links import person_links, way_to_root
from bidsapp_brainage.reports.cohort.percentiles import QualityOfAll, with_percentiles
from bidsapp_brainage.reports.embedded_figures import EmbeddedFigures
from bidsapp_brainage.reports.html import SELF_CONTAINED, Table, count, render
from bidsapp_brainage.reports.individual import run_facts
from bidsapp_brainage.reports.individual.history.run_tables import (
    run_table,
    software,
    stage_table,
)
from bidsapp_brainage.reports.individual.history.sessions import SessionsView, sessions_views
from bidsapp_brainage.reports.individual.person_viewers import VIEWER_ROOM, PersonViewers
from bidsapp_brainage.reports.individual.prediction_view import (
    PredictionView,
    age_caption,
    modality_table,
    prediction_view,
    quality_table,
    scan_table,
    verdict_of,
)
from bidsapp_brainage.reports.individual.rating import rating_notice
from bidsapp_brainage.reports.individual.region_tables import regions_view
from bidsapp_brainage.reports.individual.results import (
    PredictionResult,
    ScanResult,
    SubjectResult,
    of_session,
    read_subject,
    shown_modalities,
)
from bidsapp_brainage.reports.individual.run_facts import RunFacts
from bidsapp_brainage.reports.individual.segmentation_view import measure_table, volume_summary
from bidsapp_brainage.reports.ratings import rating_bar, rating_form
from bidsapp_brainage.reports.verdicts.banner import banner
from bidsapp_brainage.reports.viewers.scans import MARGIN_MM
from bidsapp_brainage.stats.verdicts import scan_verdict

SECTIONS = (
    ("summary", "Summary"),
    ("anatomical", "Anatomical"),
    ("model-input", "Model input"),
    ("prediction", "Prediction"),
    ("regions", "Regional contributions"),
    ("quality", "Quality"),
    ("reading", "How to read this"),
    ("methods", "Methods"),
    ("about", "About"),
    ("errors", "Errors"),
)
SESSIONS = ("sessions", "Sessions")  # after the prediction, where there are several scans
PAGE_BUDGET = 5_900_000  # bytes; mail servers refuse much larger attachments


@dataclass(frozen=True)
class PersonRead:
    """What the derivatives say about a person, read once for all of their pages."""

    output_dir: Path
    result: SubjectResult
    sessions: Sequence[SessionsView]

    @property
    def ages(self) -> list[Mapping[str, object]]:
        """The predicted ages of all scans, one row each."""
        models = [model for scan in self.result.scans for model in scan.models]
        return [model.prediction.first for model in models if model.prediction is not None]


def read_person(output_dir: Path, subject: str) -> PersonRead:
    """Read everything that the pages of a person show (label without ``sub-``)."""
    output_dir = Path(output_dir)
    result = read_subject(output_dir, subject)
    return PersonRead(output_dir, result, sessions_views(output_dir, result))


def write_individual_report(
    output_dir: Path,
    subject: str,
    *,
    run: RunFacts,
    viewer_room: int = VIEWER_ROOM,
    session: str | None = None,
    path: Path | None = None,
    person: PersonRead | None = None,
) -> Path:
    """Write the page of a person, or of one of their sessions, from what lies in the derivatives.

    Same derivatives and same `run`, same bytes.

    Parameters
    ----------
    output_dir : Path
    subject : str
        Label; it may have its ``sub-``.
    run : RunFacts
        What is told beside the derivatives.
    viewer_room : int
        Bytes that the viewers may take; with 0 there are none.
    session : str, optional
        Show only scans of this session (label without ``ses-``; empty: of none), beside the ages
        of all; None shows everything.
    path : Path, optional
        Where the page lies; by default ``sub-<subject>.html`` in the root.
    person : PersonRead, optional
        From :func:`read_person`, where it is known.

    Returns
    -------
    Path
        The page.
    """
    output_dir, subject = Path(output_dir), subject.removeprefix("sub-")
    path = path or report_path(output_dir, subject, session or "")
    person = person or read_person(output_dir, subject)
    result = person.result if session is None else of_session(person.result, session)
    figures = EmbeddedFigures(_all_figures(result))
    name = scan_name((("sub", subject), *([("ses", session)] if session else [])))
    root = way_to_root(path, output_dir)
    page = render(
        "individual.html.jinja",
        title=f"{_explained(result).title} of {name.replace('_', ', ')}",
        subtitle=_subtitle(result),
        sections=_sections(several=bool(person.sessions)),
        synthetic=shows_synthetic_people(output_dir),
        written=run.get("written", ""),
        sessions=person.sessions,
        assets=SELF_CONTAINED,
        links=person_links(name, root),
        rating_bar=rating_bar(root),
        **_context(person, result, run, figures, viewer_room),
    )
    more = max(viewer_room - VIEWER_ROOM, 0)  # who asks for finer viewers gets a larger page
    write_text(path, figures.insert(page, PAGE_BUDGET + more - len(page)))
    return path


def _sections(*, several: bool) -> list[tuple[str, str]]:
    after = [name for name, _ in SECTIONS].index("prediction") + 1
    return [*SECTIONS[:after], *([SESSIONS] if several else []), *SECTIONS[after:]]


def _context(
    person: PersonRead,
    result: SubjectResult,
    run: RunFacts,
    figures: EmbeddedFigures,
    viewer_room: int,
) -> dict[str, object]:
    runs = run.get("runs") or ()
    failed = run_facts.failures(runs)
    viewers = PersonViewers(len(result.scans), viewer_room)
    views = [[prediction_view(scan, model) for model in scan.models] for scan in result.scans]
    scans = [
        _scan_context(
            scan, own, figures, viewers, run.get("quality") or {}, failed.get(scan.label, "")
        )
        for scan, own in zip(result.scans, views, strict=True)
    ]
    pairs = [
        (scan, model.model, view)
        for scan, own in zip(result.scans, views, strict=True)
        for model, view in zip(scan.models, own, strict=True)
    ] + [(scan, "n/a", None) for scan in result.scans if not scan.models]
    pairs.sort(key=lambda item: (item[0].label, item[1]))
    errors = [run_facts.error(item) for item in run.get("errors") or ()]
    errors += [{"title": problem, "text": ""} for problem in result.problems]
    return {
        "subject": result.subject,
        "explained": _explained(result),
        "scans": scans,
        "scan_table": scan_table(pairs) if pairs else None,
        "facts": run_facts.summary_facts(result, errors),
        "nothing": None if scans else banner(scan_verdict(None, failure=" ".join(failed.values()))),
        "overall": _overall(person.ages, errors, run),
        "errors": errors,
        "methods": run_facts.methods(person.output_dir, run),
        "about": run_facts.about(result, run),
        "stages": stage_table(runs),
        "software": software(runs),
        "runs": run_table(runs),
        "single": len(result.scans) == 1,
        "viewer_margin": f"{MARGIN_MM:g}",
    }


def _subtitle(result: SubjectResult) -> str:
    sessions = {dict(scan.entities).get("ses") for scan in result.scans} - {None}
    n_images = sum(not _is_measured_alone(scan) for scan in result.scans)
    parts = [count(n_images, f"{shown_modalities(result)} image")]
    if sessions:
        parts.append(f"{len(sessions)} session{'s' if len(sessions) != 1 else ''}")
    return ", ".join([*parts, f"bidsapp_brainage {__version__}"])


def _is_measured_alone(scan: ScanResult) -> bool:
    """Whether all that is there of a scan are measures of FreeSurfer."""
    return bool(scan.models) and all("morphometry" in model.tables for model in scan.models)


def _scan_context(
    scan: ScanResult,
    views: Sequence[PredictionView | None],
    figures: EmbeddedFigures,
    viewers: PersonViewers,
    quality: QualityOfAll,
    failure: str,
) -> dict[str, object]:
    """Everything that the template shows of one scan."""
    sources = scan.sidecar.get("Sources") or []
    return {
        "label": scan.label,
        "modality": scan.modality,
        "banner": banner(verdict_of(scan, failure=failure)),
        "stripped": scan.sidecar.get("SkullStripped"),
        "sources": [str(source) for source in sources] if isinstance(sources, list) else [],
        "viewer": viewers.anatomy(scan),
        "mask_figure": figures.get(scan.mask_figure),
        "other_figures": {name: figures.get(figure) for name, figure in scan.other_figures.items()},
        "segmentation_figure": figures.get(scan.segmentation_figure),
        "volumes": volume_summary(scan),
        "registration": [
            (space, figures.get(before), figures.get(after))
            for space, before, after in scan.registration
        ],
        "views": views,
        "rating": rating_form(scan.label),
        "rated": [rating_notice(rating) for rating in scan.ratings],
        "models": [
            _model_context(scan, model, view, figures, viewers, failure)
            | {"quality": _quality(scan, model, quality)}
            for model, view in zip(scan.models, views, strict=True)
        ],
    }


def _model_context(
    scan: ScanResult,
    model: PredictionResult,
    view: PredictionView | None,
    figures: EmbeddedFigures,
    viewers: PersonViewers,
    failure: str,
) -> dict[str, object]:
    checks = model.quality.first if model.quality else {}
    row = view.row if view else {}
    regions = [
        (
            regions_view(scan, model.model, result),
            figures.get(result.figure),
            viewers.regions(scan, model.model, result),
        )
        for result in model.regions
    ]
    return {
        "name": model.model,
        "raw": model.raw,
        "banner": banner(
            verdict_of(scan, model, failure), [(part.title, part.judged) for part, _, _ in regions]
        ),
        "view": view,
        "about": Quantity.from_model(model.prediction.sidecar.get("Model"))
        if model.prediction
        else AN_AGE,
        "modalities": modality_table(scan, model),
        "input_figure": figures.get(model.input_figure),
        "other_inputs": {name: figures.get(figure) for name, figure in model.other_inputs.items()},
        "age_caption": age_caption(model),
        "age_figure": figures.get(model.age_figure),
        "distribution": model.distribution is not None,
        "regions": regions,
        "measures": measure_table(scan, model),
        "map_figures": [(card, figures.get(path)) for card, path in model.map_figures],
        "decision": checks.get("decision", row.get("qc_flag")),
        "quality_notices": wording.quality(checks or row),
    }


def _quality(scan: ScanResult, model: PredictionResult, quality: QualityOfAll) -> Table | None:
    """Table of quality metrics, with where they lie among other scans."""
    table = quality_table(scan, model)
    if table is None or model.quality is None:
        return None
    return with_percentiles(table, model.quality.first, quality.get(model.model, {}))


def _explained(result: SubjectResult) -> Quantity:
    """What the page is about: the age, unless all of its models predict the same other thing."""
    found = {
        Quantity.from_model(model.prediction.sidecar.get("Model"))
        for scan in result.scans
        for model in scan.models
        if model.prediction
    }
    return found.pop() if len(found) == 1 else AN_AGE


def _overall(
    rows: Sequence[Mapping[str, object]],
    errors: Sequence[object],
    run: RunFacts,
) -> list[wording.Notice]:
    """Findings that concern the participant as a whole."""
    heading = "A warning about the input of this participant"
    notices = [wording.Notice("warn", heading, str(text)) for text in run.get("warnings") or ()]
    notices += wording.same_age_in_sessions(rows)
    if errors:
        some = "One step" if len(errors) == 1 else f"{len(errors)} steps"
        notices.append(
            wording.Notice("bad", f"{some} failed", "", "See Errors at the end of this page.")
        )
    return notices


def _all_figures(result: SubjectResult) -> list[Path]:
    paths: list[Path | None] = []
    for scan in result.scans:
        paths += [scan.mask_figure, *scan.other_figures.values(), scan.segmentation_figure]
        paths += [path for _, *pair in scan.registration for path in pair]
        for model in scan.models:
            paths += [model.input_figure, *model.other_inputs.values(), model.age_figure]
            paths += [regions.figure for regions in model.regions]
            paths += [path for _, path in model.map_figures]
    return [path for path in paths if path is not None]
