"""One self-contained HTML page per participant, made from derivatives and facts about the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.citation import bibliography, cited_keys, render_html, render_latex
from bidsapp_brainage.bids.citation import render_markdown as render_plain
from bidsapp_brainage.bids.names import report_path
from bidsapp_brainage.io import write_text
from bidsapp_brainage.reports import wording
from bidsapp_brainage.reports.embedded_pictures import Pictures, read_text
from bidsapp_brainage.reports.html import is_missing, render
from bidsapp_brainage.reports.individual import views
from bidsapp_brainage.reports.individual.rating import rating_form, rating_notice
from bidsapp_brainage.reports.individual.region_viewers import Viewers
from bidsapp_brainage.reports.individual.results import (
    PredictionResult,
    ScanResult,
    SubjectResult,
    read_subject,
)

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
PAGE_BUDGET = 5_500_000  # bytes; mail servers refuse much larger attachments


def write_individual_report(output_dir: Path, subject: str, *, run: Mapping[str, Any]) -> Path:
    """Write ``sub-<subject>.html`` from what lies in the derivatives.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    subject : str
        Label, with or without ``sub-``.
    run : mapping
        Facts about the invocation, all optional: ``command_line``, ``version``, ``run_uuid``,
        ``date``, ``versions`` (name to version), ``methods_md`` (methods text with citation keys;
        without it ``logs/CITATION.*`` are read), ``errors`` (list of mappings with ``node``,
        ``scan``, ``message``, ``traceback``), ``warnings`` (list of sentences).

    Returns
    -------
    Path
        The page. Same derivatives and same `run`, same bytes.
    """
    subject = subject.removeprefix("sub-")
    result = read_subject(Path(output_dir), subject)
    pictures = Pictures(_all_figures(result))
    page = render(
        "individual.html.jinja",
        title=f"Brain age of sub-{subject}",
        subtitle=_subtitle(result),
        sections=SECTIONS,
        **_context(Path(output_dir), result, run, pictures),
    )
    path = report_path(Path(output_dir), subject)
    write_text(path, pictures.insert(page, PAGE_BUDGET - len(page)))
    return path


def _context(
    output_dir: Path, result: SubjectResult, run: Mapping[str, Any], pictures: Pictures
) -> dict[str, Any]:
    viewers = Viewers()
    scans = [_scan_context(scan, pictures, viewers) for scan in result.scans]
    pairs = [
        (scan, model.model, view)
        for scan, context in zip(result.scans, scans, strict=True)
        for model, view in zip(scan.models, context["views"], strict=True)
    ] + [(scan, "n/a", None) for scan in result.scans if not scan.models]
    pairs.sort(key=lambda item: (item[0].label, item[1]))
    errors = [_error(item) for item in run.get("errors") or ()]
    errors += [{"title": problem, "text": ""} for problem in result.problems]
    rows = [view.row for _, _, view in pairs if view is not None]
    return {
        "subject": result.subject,
        "scans": scans,
        "scan_table": views.scan_table(pairs) if pairs else None,
        "facts": _summary_facts(result, errors),
        "overall": _overall(pairs, rows, errors, run),
        "errors": errors,
        "methods": _methods(output_dir, run),
        "about": _about(result, run),
        "versions": sorted((run.get("versions") or {}).items()),
        "single": len(result.scans) == 1,
    }


def _subtitle(result: SubjectResult) -> str:
    sessions = {dict(scan.entities).get("ses") for scan in result.scans} - {None}
    parts = [f"{len(result.scans)} T1w image{'s' if len(result.scans) != 1 else ''}"]
    if sessions:
        parts.append(f"{len(sessions)} session{'s' if len(sessions) != 1 else ''}")
    return ", ".join([*parts, f"bidsapp_brainage {__version__}"])


def _summary_facts(result: SubjectResult, errors: Sequence[Any]) -> list[tuple[str, str]]:
    """What was processed, with what."""
    sessions = sorted({label for scan in result.scans if (label := dict(scan.entities).get("ses"))})
    models = {model.model: model for scan in result.scans for model in scan.models}
    atlases = sorted({part.atlas for model in models.values() for part in model.regions})
    facts = [("Participant", f"sub-{result.subject}")]
    if sessions:
        facts.append(("Sessions", ", ".join(sessions)))
    facts.append(("T1w images", str(len(result.scans))))
    facts.append(("Model", ", ".join(map(_model_title, models.values())) or "n/a"))
    facts.append(("Atlas", ", ".join(atlases) or "none"))
    facts.append(("Errors", str(len(errors)) if errors else "none"))
    return facts


def _model_title(model: PredictionResult) -> str:
    sidecar = model.prediction.sidecar if model.prediction else {}
    span = views.age_range(sidecar)
    card = sidecar.get("Model")
    version = card.get("Version", "") if isinstance(card, dict) else ""
    trained = "" if span is None else f" (trained on ages {span[0]:g} to {span[1]:g})"
    return f"{model.model} {version}".strip() + trained


def _scan_context(scan: ScanResult, pictures: Pictures, viewers: Viewers) -> dict[str, Any]:
    """Everything that the template shows of one scan."""
    found = [views.prediction_view(scan, model) for model in scan.models]
    sources = scan.t1w_sidecar.get("Sources") or []
    return {
        "label": scan.label,
        "stripped": scan.t1w_sidecar.get("SkullStripped"),
        "sources": [str(source) for source in sources] if isinstance(sources, list) else [],
        "mask_figure": pictures.get(scan.mask_figure),
        "registration": [
            (space, pictures.get(before), pictures.get(after))
            for space, before, after in scan.registration
        ],
        "views": found,
        "rating": rating_form(scan),
        "rated": rating_notice(scan.rating),
        "models": [
            _model_context(scan, model, view, pictures, viewers)
            for model, view in zip(scan.models, found, strict=True)
        ],
    }


def _model_context(
    scan: ScanResult,
    model: PredictionResult,
    view: views.PredictionView | None,
    pictures: Pictures,
    viewers: Viewers,
) -> dict[str, Any]:
    checks = model.quality.first if model.quality else {}
    row = view.row if view else {}
    return {
        "name": model.model,
        "view": view,
        "input_figure": pictures.get(model.input_figure),
        "age_caption": views.age_caption(model),
        "age_figure": pictures.get(model.age_figure),
        "distribution": model.distribution is not None,
        "regions": [
            (
                views.regions_view(scan, model.model, regions),
                pictures.get(regions.figure),
                viewers.get(scan, model, regions),
            )
            for regions in model.regions
        ],
        "cube_figure": pictures.get(model.cube_figure),
        "quality": views.quality_table(scan, model),
        "decision": checks.get("decision", row.get("qc_flag")),
        "quality_notices": wording.quality(
            checks.get("decision", row.get("qc_flag")), checks.get("decision_reason")
        ),
    }


def _overall(
    pairs: Sequence[tuple[ScanResult, str, views.PredictionView | None]],
    rows: Sequence[Mapping[str, Any]],
    errors: Sequence[Any],
    run: Mapping[str, Any],
) -> list[wording.Notice]:
    """Findings that concern the participant as a whole."""
    heading = "A warning about the input of this participant"
    found = [wording.Notice("warn", heading, str(text)) for text in run.get("warnings") or ()]
    found += wording.same_age_in_sessions(rows)
    if not pairs:
        found.append(
            wording.Notice(
                "bad",
                "Nothing was computed for this participant",
                "No derivatives of this participant were found.",
                "See Errors below; then run the participant level again.",
            )
        )
    if errors:
        some = "One step" if len(errors) == 1 else f"{len(errors)} steps"
        found.append(
            wording.Notice("bad", f"{some} failed", "", "See Errors at the end of this page.")
        )
    return found


def _methods(output_dir: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    """Methods text in four forms; empty ones are not shown."""
    text = str(run.get("methods_md") or "")
    logs = output_dir / "logs"
    kept = read_text(logs / "CITATION.md")
    if text.strip() and text.strip() != kept.strip():
        references = bibliography()
        bib = "\n\n".join(references[key].bibtex for key in cited_keys(text))
        forms = {"md": render_plain(text), "tex": render_latex(text), "bib": bib}
        return {**forms, "html": Markup(_raised(render_html(text)))}
    forms = {kind: read_text(logs / f"CITATION.{kind}") for kind in ("tex", "bib")}
    return {**forms, "md": kept, "html": Markup(_page_body(kept))}


def _page_body(markdown: str) -> str:
    """Methods text whose citations are written out already, with its list of references."""
    text, _, listed = markdown.partition("## References")
    items = [line[2:] for line in listed.splitlines() if line.startswith("- ")]
    references = Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
    body = _raised(render_html(text)) if text.strip() else ""
    return body + (f"<h3>References</h3>\n<ul>{references}</ul>" if items else "")


def _raised(html: str) -> str:
    """Headings one level higher: on the page they stand right below that of the section."""
    return html.replace("<h4>", "<h3>").replace("</h4>", "</h3>")


def _about(result: SubjectResult, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("App", f"bidsapp_brainage {run.get('version') or __version__}"),
        ("Command line", str(run.get("command_line") or "n/a")),
        ("Run", str(run.get("run_uuid") or "n/a")),
    ]
    if run.get("date"):
        facts.append(("Date", str(run["date"])))
    seen: dict[str, Mapping[str, Any]] = {}
    for scan in result.scans:
        for model in scan.models:
            if model.prediction is not None and model.prediction.sidecar:
                seen.setdefault(model.model, model.prediction.sidecar)
    for label, sidecar in seen.items():
        facts += _about_model(label, sidecar)
    return facts


def _about_model(label: str, sidecar: Mapping[str, Any]) -> list[tuple[str, str]]:
    model = sidecar.get("Model")
    model = model if isinstance(model, dict) else {}
    hashes = model.get("WeightsSHA256") or "n/a"
    hashes = ", ".join(map(str, hashes)) if isinstance(hashes, list) else str(hashes)
    span = views.age_range(sidecar)
    return [
        ("Model", f"{model.get('Name', label)} {model.get('Version', '')}".strip()),
        ("Trained on ages", "n/a" if span is None else f"{span[0]:g} to {span[1]:g} years"),
        ("Licence of the weights", str(model.get("License") or "n/a")),
        ("SHA-256 of the weights", hashes),
        ("Bias correction", str(sidecar.get("BiasCorrection") or "n/a")),
        ("Computed on", str(sidecar.get("Device") or "n/a")),
    ]


def _error(item: Any) -> dict[str, str]:
    """Title and text of one failed step."""
    if not isinstance(item, Mapping):
        return {"title": str(item), "text": ""}
    named = [str(item[key]) for key in ("scan", "node") if not is_missing(item.get(key))]
    message = str(item.get("message") or "")
    title = ": ".join(filter(None, [" ".join(named), message])) or "Failed step"
    trace = item.get("traceback") or ""
    trace = trace if isinstance(trace, str) else "".join(map(str, trace))
    return {"title": title, "text": trace}


def _all_figures(result: SubjectResult) -> list[Path]:
    found: list[Path | None] = []
    for scan in result.scans:
        found.append(scan.mask_figure)
        found += [path for _, *pair in scan.registration for path in pair]
        for model in scan.models:
            found += [model.input_figure, model.age_figure, model.cube_figure]
            found += [regions.figure for regions in model.regions]
    return [path for path in found if path is not None]
