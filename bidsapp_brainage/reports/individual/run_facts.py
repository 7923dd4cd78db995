"""What the page tells about the run: summary, methods text, software and model, failed steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from markupsafe import Markup

from bidsapp_brainage.bids.citation import render_html
from bidsapp_brainage.bids.run_records import RunRecord, newest, scan_runs
from bidsapp_brainage.catalogue.lookup import baseline_title
from bidsapp_brainage.reports.cohort.percentiles import QualityOfAll
from bidsapp_brainage.reports.embedded_figures import read_text
from bidsapp_brainage.reports.html import is_missing
from bidsapp_brainage.reports.individual.prediction_view import age_range
from bidsapp_brainage.reports.individual.results import (
    PredictionResult,
    SubjectResult,
    shown_modalities,
)
from bidsapp_brainage.reports.methods_text import methods_forms, raised
from bidsapp_brainage.reports.runs.words import about_page, about_run
from bidsapp_brainage.stats.verdicts import sentence


class RunFacts(TypedDict, total=False):
    """What is told beside the derivatives; without `methods_md` ``logs/CITATION.*`` are read."""

    runs: Sequence[RunRecord]  # of this participant, oldest first
    written: str  # when the page is written, UTC
    methods_md: str  # methods text with citation keys
    errors: Sequence[object]  # mappings with node, scan, message, traceback
    warnings: Sequence[str]
    quality: QualityOfAll  # of all scans in the folder


def methods(output_dir: Path, run: RunFacts) -> Mapping[str, object]:
    """Methods text in four forms; empty ones are not shown."""
    text = str(run.get("methods_md") or "")
    logs = output_dir / "logs"
    kept = read_text(logs / "CITATION.md")
    if text.strip() and text.strip() != kept.strip():
        return methods_forms(text)
    forms = {kind: read_text(logs / f"CITATION.{kind}") for kind in ("tex", "bib")}
    return {**forms, "md": kept, "html": Markup(_page_body(kept))}


def _page_body(markdown: str) -> str:
    """Methods text whose citations are written out already, with its list of references."""
    text, _, listed = markdown.partition("## References")
    items = [line[2:] for line in listed.splitlines() if line.startswith("- ")]
    references = Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
    body = raised(render_html(text)) if text.strip() else ""
    return body + (f"<h3>References</h3>\n<ul>{references}</ul>" if items else "")


def about(result: SubjectResult, run: RunFacts) -> list[tuple[str, str]]:
    """The newest runs with their commands, every model that predicted, and who explained."""
    facts = [fact for each, _ in newest(run.get("runs") or ()) for fact in about_run(each)]
    facts += about_page(run.get("written", ""))
    seen: dict[str, Mapping[str, object]] = {}
    for scan in result.scans:
        for model in scan.models:
            if model.prediction is not None and model.prediction.sidecar:
                seen.setdefault(model.model, model.prediction.sidecar)
    for label, sidecar in seen.items():
        facts += _about_model(label, sidecar)
    explained = [
        _about_explanation(regions.atlas, regions.table.sidecar)
        for scan in result.scans
        for model in scan.models
        for regions in model.regions
        if regions.table is not None
    ]
    return facts + [fact for fact in dict.fromkeys(explained) if fact[1]]


def _about_model(label: str, sidecar: Mapping[str, object]) -> list[tuple[str, str]]:
    model = sidecar.get("Model")
    model = model if isinstance(model, dict) else {}
    hashes = model.get("WeightsSHA256") or "n/a"
    hashes = ", ".join(map(str, hashes)) if isinstance(hashes, list) else str(hashes)
    span = age_range(sidecar)
    return [
        ("Model", f"{model.get('Name', label)} {model.get('Version', '')}".strip()),
        ("Trained on ages", "n/a" if span is None else f"{span[0]:g} to {span[1]:g} years"),
        ("Licence of the weights", str(model.get("License") or "n/a")),
        ("SHA-256 of the weights", hashes),
        ("Predicted by", _software(sidecar) or "n/a"),
        ("Bias correction", str(sidecar.get("BiasCorrection") or "n/a")),
        ("Computed on", str(sidecar.get("Device") or "n/a")),
    ]


def _about_explanation(atlas: str, sidecar: Mapping[str, object]) -> tuple[str, str]:
    """By which version and choices regions were explained; nothing where the sidecar is silent."""
    choices = sidecar.get("Explanation")
    choices = choices if isinstance(choices, dict) else {}
    baselines = [baseline_title(str(key)) for key in choices.get("Baselines") or ()]
    parts = [
        _software(sidecar),
        f"baselines: {', '.join(baselines)}" if baselines else "",
        f"random parcels: {choices['NullParcels']}" if "NullParcels" in choices else "",
    ]
    return f"Regions of {atlas} explained by", "; ".join(filter(None, parts))


def _software(sidecar: Mapping[str, object]) -> str:
    software = sidecar.get("Software")
    software = software if isinstance(software, dict) else {}
    return f"{software.get('Name', '')} {software.get('Version', '')}".strip()


def summary_facts(result: SubjectResult, errors: Sequence[object]) -> list[tuple[str, str]]:
    """What was processed, with what."""
    sessions = sorted({label for scan in result.scans if (label := dict(scan.entities).get("ses"))})
    models = {model.model: model for scan in result.scans for model in scan.models}
    atlases = sorted({part.atlas for model in models.values() for part in model.regions})
    facts = [("Participant", f"sub-{result.subject}")]
    if sessions:
        facts.append(("Sessions", ", ".join(sessions)))
    facts.append((f"{shown_modalities(result)} images", str(len(result.scans))))
    facts.append(("Model", ", ".join(map(_model_title, models.values())) or "n/a"))
    facts.append(("Atlas", ", ".join(atlases) or "none"))
    facts.append(("Errors", str(len(errors)) if errors else "none"))
    return facts


def _model_title(model: PredictionResult) -> str:
    sidecar = model.prediction.sidecar if model.prediction else {}
    span = age_range(sidecar)
    card = sidecar.get("Model")
    version = card.get("Version", "") if isinstance(card, dict) else ""
    trained = "" if span is None else f" (trained on ages {span[0]:g} to {span[1]:g})"
    return f"{model.model} {version}".strip() + trained


def failures(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Where and why scans failed in the newest run that should have made them, by their names."""
    return {
        scan: " ".join(sentence(f"{failed.step}: {failed.reason}") for failed in run.failures)
        for scan, run in scan_runs(runs).items()
        if run.failures
    }


def error(item: object) -> dict[str, str]:
    """Title and text of one failed step."""
    if not isinstance(item, Mapping):
        return {"title": str(item), "text": ""}
    named = [str(item[key]) for key in ("scan", "node") if not is_missing(item.get(key))]
    message = str(item.get("message") or "")
    title = ": ".join(filter(None, [" ".join(named), message])) or "Failed step"
    trace = item.get("traceback") or ""
    trace = trace if isinstance(trace, str) else "".join(map(str, trace))
    return {"title": title, "text": trace}
