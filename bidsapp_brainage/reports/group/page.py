"""The page of a group: one self-contained HTML file per model."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.catalogue.levels import SIDES
from bidsapp_brainage.group.summary import N_BOOT, AtlasSummary, Summary
from bidsapp_brainage.io import write_text
from bidsapp_brainage.reports.group import curves, figures, tables
from bidsapp_brainage.reports.group.pictures import (
    Gallery,
    Picture,
    group_viewer,
    mean_map_figure,
    report_link,
    scan_points,
)
from bidsapp_brainage.reports.group.result_tables import (
    ATLAS_RESULTS,
    GAP_RESULTS,
    REPEAT_RESULTS,
    SAMPLE_RESULTS,
    SENSITIVITY,
    Results,
)
from bidsapp_brainage.reports.html import number, render

#: Suffix of a table, its figure, description, caption.
_CURVES = (
    (
        "lifespan",
        curves.lifespan_curves,
        "Curves of the contribution over age",
        "Contribution over age: natural cubic splines with 95 % bands, one value per person. Below "
        "zero the parts make brains of this age look older. People of different age are different "
        "people: this is no course of ageing.",
    ),
    (
        "agegroups",
        curves.age_groups,
        "Mean contributions in groups of age",
        "Means in the age groups of He et al. (2025), as a description. Red: makes brains of this "
        "age look older; blue: younger.",
    ),
    (
        "asymmetry",
        curves.asymmetry_pairs,
        "Contributions of left and right regions",
        "The pairs with the largest difference between left and right; a star marks q < 0.05.",
    ),
)
LEVELS = ("network", "hemisphere", "lobe")


def write_group_report(
    output_dir: Path,
    summary: Summary,
    *,
    maps: Mapping[str, Path],
    unreadable: tuple[str, ...] = (),
    command_line: str = "",
) -> Path:
    """Write ``group_desc-<model>_brainage.html``.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    summary : Summary
        Results of one model.
    maps : mapping
        Mean occlusion map (path) by atlas title.
    unreadable : tuple of str
        Sentences about tables that could not be read.
    command_line : str
        The command, without paths of this machine.

    Returns
    -------
    Path
        The page: no script or picture is loaded from elsewhere.
    """
    output_dir = Path(output_dir)
    gallery = Gallery(output_dir, summary)
    results = Results(output_dir, summary.model.label)
    link = functools.partial(report_link, output_dir)
    atlases = [
        {
            **_atlas(output_dir, summary, atlas, maps, gallery, position=position),
            **_beyond(results, gallery, atlas, f"regions-{position}"),
        }
        for position, atlas in enumerate(summary.atlases, start=1)
    ]
    page = render(
        "group.html.jinja",
        title=f"Brain age of a sample: {summary.model.label}",
        subtitle=_subtitle(summary),
        sections=_sections(atlases, results),
        model=_model_facts(summary),
        tiles=_tiles(summary),
        sample=[*_sample(summary.scans), *_beyond_training(summary)],
        figures=_sample_figures(output_dir, summary.scans, gallery),
        accuracy=tables.accuracy_table(summary),
        subsets=tables.subset_table(summary),
        corrected=tables.corrected_table(summary),
        notes=summary.model.notes,
        further={
            "notes": results.notes(),
            "sample": results.shown(SAMPLE_RESULTS),
            "gaps": results.shown(GAP_RESULTS),
            "repeats": results.shown(REPEAT_RESULTS),
            "sensitivity": results.shown((SENSITIVITY,)),
        },
        accuracy_notes=summary.accuracy.notes,
        atlases=atlases,
        flagged=tables.flag_table(summary, link),
        outliers=tables.outlier_table(summary, link),
        exclusions=tables.exclusion_table(summary, link),
        unreadable=unreadable,
        n_boot=N_BOOT,
        command_line=command_line,
    )
    path = derivative_path(
        output_dir,
        (),
        suffix="brainage",
        extension=".html",
        datatype="group",
        desc=summary.model.label,
    )
    write_text(path, page)
    return path


def _subtitle(summary: Summary) -> str:
    n_scans = len(summary.scans)
    n_people = summary.scans["participant_id"].nunique()
    return f"{_count(n_people, 'participant')}, {_count(n_scans, 'scan')}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _sections(atlases: list[dict[str, Any]], results: Results) -> list[tuple[str, str]]:
    repeated = results.rows("reliability") is not None
    varied = results.rows("sensitivity") is not None
    return [
        ("summary", "Summary"),
        ("sample", "Sample"),
        ("prediction", "Predicted age"),
        ("accuracy", "Accuracy"),
        ("gap", "Gap"),
        *([("repeats", "Repeated scans")] if repeated else []),
        *((atlas["id"], f"Regions: {atlas['title']}") for atlas in atlases),
        *([("sensitivity", "Sensitivity")] if varied else []),
        ("quality", "Quality"),
        ("exclusions", "Left out"),
        ("limits", "What it does not mean"),
        ("methods", "Methods"),
        ("about", "About this page"),
    ]


def _model_facts(summary: Summary) -> list[tuple[str, str]]:
    shared = summary.model.provenance
    card = shared.get("Model")
    card = card if isinstance(card, dict) else {}
    facts = [
        ("Model", f"{card.get('Name', summary.model.label)} {card.get('Version', '')}".strip())
    ]
    ages = card.get("AgeRange")
    if isinstance(ages, list) and len(ages) == 2:
        facts.append(("Trained on ages", f"{number(ages[0], 0)} to {number(ages[1], 0)} years"))
    weights = card.get("WeightsSHA256") or []
    weights = weights if isinstance(weights, list) else [weights]
    if weights:
        facts.append(("Weights (SHA-256)", ", ".join(str(code)[:12] + "…" for code in weights)))
    licence = card.get("License") or card.get("Licence")
    if licence:
        facts.append(("Licence of the model", str(licence)))
    if "bias_model" in summary.scans:
        sources = sorted(summary.scans["bias_model"].dropna().astype(str).unique())
        facts.append(("Bias correction", "; ".join(sources) or "none"))
    return facts


def _tiles(summary: Summary) -> list[dict[str, Any]]:
    table = summary.accuracy.table
    found = table[(table["prediction"] == "raw") & (table["subset"] == "all")].set_index("metric")
    tiles = []
    for name, what, unit, digits in (
        ("mae", "Mean absolute error", "years", 1),
        ("mae_mean_age", "Answering the mean age", "years", 1),
        ("pearson_r", "Correlation with age", "", 2),
        ("mean_gap", "Mean gap", "years", 1),
        ("coverage95", "Ages inside the 95 % interval", "%", 0),
    ):
        if name not in found.index:
            continue
        scale = 100 if unit == "%" else 1
        row = found.loc[name]
        bounds = tables.interval(scale * row["ci95_lower"], scale * row["ci95_upper"], digits)
        tiles.append(
            {
                "what": what,
                "value": number(scale * row["value"], digits),
                "unit": unit,
                "note": "too few people for an interval"
                if bounds == "n/a"
                else f"95 % CI {bounds}",
                "main": name == "mae",
            }
        )
    n_flagged = int(summary.scans["flagged"].sum())
    flagged = {"what": "Flagged scans", "value": str(n_flagged), "unit": f"of {len(summary.scans)}"}
    return [*tiles, {**flagged, "note": "kept, never dropped silently", "main": False}]


def _sample(scans: pd.DataFrame) -> list[tuple[str, str]]:
    ages = scans["chronological_age"].dropna()
    people = scans.drop_duplicates("participant_id")
    repeated = int((scans["participant_id"].value_counts() > 1).sum())
    rows = [
        ("Participants", str(len(people))),
        ("Scans", f"{len(scans)} ({_count(repeated, 'participant')} with several)"),
        ("Age known", f"{len(ages)} of {_count(len(scans), 'scan')}"),
    ]
    if len(ages):
        spread = number(ages.std(ddof=1)) if len(ages) > 1 else "n/a"
        rows += [
            ("Age, mean (SD)", f"{number(ages.mean())} ({spread}) years"),
            ("Age, range", f"{number(ages.min())} to {number(ages.max())} years"),
        ]
    predicted = scans["predicted_age"]
    low, high = number(predicted.min()), number(predicted.max())
    rows.append(("Predicted age, range", f"{low} to {high} years"))
    for name in ("sex", "site"):
        counts = people[name].fillna("not known").astype(str).value_counts().sort_index()
        if list(counts.index) != ["not known"]:
            parts = [f"{level} {count}" for level, count in counts.items()]
            rows.append((f"{name.capitalize()}, participants", ", ".join(parts)))
    return rows


def _beyond_training(summary: Summary) -> list[tuple[str, str]]:
    """Scans of people younger or older than everybody whom the model was trained on."""
    card = summary.model.provenance.get("Model")
    ages = card.get("AgeRange") if isinstance(card, dict) else None
    if not isinstance(ages, list) or len(ages) != 2:
        return []
    known = summary.scans["chronological_age"].dropna()
    if known.empty:
        return []
    beyond = _count(int((~known.between(*ages)).sum()), "scan")
    span = f"trained on {number(ages[0], 0)} to {number(ages[1], 0)} years"
    return [("Beyond training", f"{beyond} ({span})")]


def _sample_figures(output_dir: Path, scans: pd.DataFrame, gallery: Gallery) -> dict[str, Picture]:
    known = scans.dropna(subset=["chronological_age", "predicted_age"])
    if known.empty:
        return {}
    known = known.assign(gap=known["predicted_age"] - known["chronological_age"])
    n = _count(len(known), "scan")
    points = scan_points(output_dir, known)
    return {
        "scatter": gallery.picture(
            figures.age_scatter(known),
            "agescatter",
            f"Scatter plot of predicted against chronological age, {n}",
            "Predicted against chronological age. Dashed: perfect prediction. Dotted: answering "
            "everybody with the sample's mean age. Pale bars: 95 % intervals. Open circles: "
            "flagged. Thin lines join scans of one person.",
            data="brainage",
            points=points,
        ),
        "gap": gallery.picture(
            figures.gap_scatter(known),
            "agegap",
            f"Scatter plot of the gap against chronological age, {n}",
            "Gap against chronological age. A falling line is regression to the mean, which "
            "every model shows: the young are overestimated, the old underestimated. Use age as "
            "a covariate when gaps are compared.",
            data="brainage",
            points=points,
        ),
        "ages": gallery.picture(
            figures.age_histogram(known["chronological_age"], known["sex"]),
            "agehistogram",
            f"Histogram of chronological ages, {n}",
            "Ages of the scans. All accuracy metrics depend on this range.",
            data="brainage",
        ),
    }


def _atlas(
    output_dir: Path,
    summary: Summary,
    atlas: AtlasSummary,
    maps: Mapping[str, Path],
    gallery: Gallery,
    *,
    position: int,
) -> dict[str, Any]:
    """Everything that the page shows about one atlas."""
    title = atlas.result.title
    identifier = f"regions-{position}"
    parts = list(atlas.table.groupby("baseline", dropna=False, sort=True))
    first = parts[0][1]
    return {
        "id": identifier,
        "title": title,
        "space": atlas.result.space,
        "notes": atlas.notes,
        "viewer": group_viewer(
            output_dir, summary, atlas, first[first["level"] == "region"], f"{identifier}-brain"
        ),
        "map": _map_picture(output_dir, summary, atlas, maps.get(title), gallery),
        "baselines": [
            _baseline(str(name), part, f"{identifier}-{fill}", atlas, gallery)
            for fill, (name, part) in enumerate(parts)
        ],
    }


def _beyond(
    results: Results, gallery: Gallery, atlas: AtlasSummary, identifier: str
) -> dict[str, Any]:
    """Lifespan, asymmetry and what else the group level found out about one atlas."""
    where = atlas.result.entities
    drawn: dict[str, Picture | None] = {suffix: None for suffix, *_ in _CURVES}
    for suffix, draw, alt, caption in _CURVES:
        rows = results.rows(suffix, where)
        if rows is None or not {"name", "pair"} & set(rows):
            continue
        rows = _one_baseline(rows)
        level = curves.best_level(rows) if "level" in rows else "pair"
        if not level:
            continue
        part = rows[rows["level"] == level] if "level" in rows else rows
        figure = draw(part.replace({"name": SIDES}))
        drawn[suffix] = gallery.picture(
            figure, suffix, f"{alt} by {level}", caption, entities=where, data=suffix
        )
    shown = results.shown(ATLAS_RESULTS, identifier, where)
    return {"curves": drawn, "further": shown}


def _one_baseline(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first baseline, where a table has several."""
    if "baseline" not in rows or rows["baseline"].isna().all():
        return rows
    return rows[rows["baseline"] == rows["baseline"].dropna().iloc[0]]


def _baseline(
    name: str, table: pd.DataFrame, identifier: str, atlas: AtlasSummary, gallery: Gallery
) -> dict[str, Any]:
    regions = table[table["level"] == "region"]
    shown = min(figures.MANY_BARS, int((regions["n_participants"] > 0).sum()))
    where: dict[str, Any] = {"entities": atlas.result.entities, "data": "occlusionstats"}
    fill = "" if identifier.endswith("-0") else "".join(filter(str.isalnum, name))
    groups = []
    for level in LEVELS:
        part = table[table["level"] == level]
        if not part.empty:
            named = part.assign(**{level: part[level].replace(SIDES)})
            picture = gallery.picture(
                figures.contribution_bars(named, level),
                f"{level}contribution{fill}",
                f"Bar chart of the mean contribution by {level}",
                "",
                **where,
            )
            groups.append(
                {
                    "level": level,
                    "picture": picture,
                    "table": tables.group_table(part, level, identifier=f"{identifier}-{level}"),
                }
            )
    return {
        "name": name,
        "ranking": gallery.picture(
            figures.contribution_bars(regions, "name"),
            f"regioncontribution{fill}",
            f"Bar chart of the mean contribution of {_count(shown, 'region')}",
            f"The {_count(shown, 'region')} whose occlusion changes the predicted age most.",
            **where,
        ),
        "groups": groups,
        "table": tables.region_table(regions, identifier=f"{identifier}-table"),
    }


def _map_picture(
    output_dir: Path, summary: Summary, atlas: AtlasSummary, path: Path | None, gallery: Gallery
) -> Picture | None:
    if path is None:
        return None
    people = _count(atlas.result.table["participant_id"].nunique(), "participant")
    return gallery.picture(
        mean_map_figure(output_dir, summary, atlas, path),
        "meanmap",
        "Axial slices of the mean occlusion map",
        f"Mean change of predicted age over {people}, aligned affinely to {atlas.result.space}. "
        "Red: the region makes the brain look older; blue: younger. Left of the picture is left "
        "of the brain.",
        entities=atlas.result.entities,
        data="occlusionstats",
        look="brain",
    )
