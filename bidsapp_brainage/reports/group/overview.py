"""What the group page says about model, sample and accuracy at a glance."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.group.calibration import is_calibrated
from bidsapp_brainage.group.sample import doubted
from bidsapp_brainage.reports.codes import measure_title, unit_title
from bidsapp_brainage.reports.group import figures
from bidsapp_brainage.reports.group.accuracy_tables import main_prediction, part_of, who
from bidsapp_brainage.reports.group.pictures import Gallery, Picture, scan_points
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import count, is_missing, number
from bidsapp_brainage.reports.tables import interval

_GAP = (
    "Gap against chronological age. A falling line is regression to the mean, which every model "
    "shows: the young are overestimated, the old underestimated. Use age as a covariate when gaps "
    "are compared."
)
_CALIBRATED_GAP = (
    "Gap calibrated for the site, against chronological age: predicted age minus that expected at "
    "this age by the line of the site's reference people, on the scale of the model's own line."
)


def subtitle(scans: pd.DataFrame) -> str:
    """How many people and scans."""
    people = count(scans["participant_id"].nunique(), "participant")
    return f"{people}, {count(len(scans), 'scan')}"


def model_facts(results: StoredResults, scans: pd.DataFrame) -> list[tuple[str, str]]:
    """What is known of the model that made the predictions."""
    card = results.model_facts()
    facts = [("Model", f"{card.get('Name', results.label)} {card.get('Version', '')}".strip())]
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
    if "bias_model" in scans:
        sources = sorted(scans["bias_model"].dropna().astype(str).unique())
        facts.append(("Bias correction", "; ".join(sources) or "none"))
    if is_calibrated(scans):
        facts.append(("Calibration", "each site on its reference people; see the section Gap"))
    return facts


def _target_tiles(targets: pd.DataFrame) -> list[dict[str, object]]:
    """The most important scores of every target, where there is no age."""
    if targets.empty:
        return []
    rows = targets[targets["metric"].isin(("balanced_accuracy", "auc", "mae", "correlation"))]
    return [
        {
            "what": f"{row['target']}: {measure_title(str(row['metric']))}"
            + ("" if is_missing(row["class"]) else f" ({row['class']})"),
            "value": number(row["value"], 2),
            "unit": unit_title(str(row["unit"])),
            "note": f"95 % CI {bounds}"
            if (bounds := interval(row["ci95_lower"], row["ci95_upper"], 2)) != "n/a"
            else "too few people for an interval",
            "main": False,
        }
        for row in rows.to_dict("records")
    ]


def tiles(
    metrics: pd.DataFrame, scans: pd.DataFrame, targets: pd.DataFrame
) -> list[dict[str, object]]:
    """The most important metrics, and the number of flagged scans."""
    overall = part_of(metrics, main_prediction(metrics), "all")
    shown = []
    for name, what, unit, digits in (
        ("mae", "Mean absolute error", "years", 1),
        ("mae_mean_age", "Answering the mean age", "years", 1),
        ("pearson_r", "Correlation with age", "", 2),
        ("mean_gap", "Mean gap", "years", 1),
        ("coverage95", "Ages inside the 95 % interval", "%", 0),
    ):
        if name not in overall.index:
            continue
        scale = 100 if unit == "%" else 1
        row = overall.loc[name]
        bounds = interval(scale * row["ci95_lower"], scale * row["ci95_upper"], digits)
        shown.append(
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
    shown += [] if shown else _target_tiles(targets)
    flagged = scans[doubted(scans)]
    people = f"{flagged['participant_id'].nunique()} of {scans['participant_id'].nunique()} people"
    return [
        *shown,
        {
            "what": "Flagged scans",
            "value": str(len(flagged)),
            "unit": f"of {len(scans)}",
            "note": f"of {people}; kept in all numbers",
            "main": False,
        },
    ]


def counted(metrics: pd.DataFrame, scans: pd.DataFrame) -> str:
    """What counts as one in which numbers, where some people have several scans."""
    people = scans["participant_id"].nunique()
    if people == len(scans):
        return ""
    overall = part_of(metrics, main_prediction(metrics), "all")
    accuracy = f" ({who(overall)} of known age)" if len(overall) else ""
    return (
        f"{count(people, 'person')} with {count(len(scans), 'scan')}: accuracy counts scans"
        f"{accuracy}, and its intervals draw people with all of their scans; gaps, models and "
        "contributions count people, each with the mean over their scans."
    )


def sample_facts(results: StoredResults, scans: pd.DataFrame) -> list[tuple[str, str]]:
    """Numbers of people, their ages and what else is known of them."""
    known = scans.dropna(subset=["chronological_age"])
    ages = known.groupby("participant_id")["chronological_age"].mean()
    people = scans.drop_duplicates("participant_id")
    repeated = int((scans["participant_id"].value_counts() > 1).sum())
    rows = [
        ("Participants", str(len(people))),
        ("Scans", f"{len(scans)} ({count(repeated, 'participant')} with several)"),
        (
            "Age known",
            f"{len(ages)} of {count(len(people), 'participant')}, "
            f"{len(known)} of {count(len(scans), 'scan')}",
        ),
    ]
    if len(ages):
        youngest, oldest = known["chronological_age"].agg(["min", "max"])
        spread = number(ages.std(ddof=1)) if len(ages) > 1 else "n/a"
        rows += [
            ("Age, mean (SD)", f"{number(ages.mean())} ({spread}) years, of participants"),
            ("Age, range", f"{number(youngest)} to {number(oldest)} years, of scans"),
        ]
    predicted = scans["predicted_age"].dropna()
    if len(predicted):
        low, high = number(predicted.min()), number(predicted.max())
        rows.append(("Predicted age, range", f"{low} to {high} years"))
    for name in ("sex", "site"):
        counts = (
            people[name].astype(object).fillna("not known").astype(str).value_counts().sort_index()
        )
        if list(counts.index) != ["not known"]:
            parts = [f"{level} {count}" for level, count in counts.items()]
            rows.append((f"{name.capitalize()}, participants", ", ".join(parts)))
    return [*rows, *_beyond_training(results, scans)]


def _beyond_training(results: StoredResults, scans: pd.DataFrame) -> list[tuple[str, str]]:
    """Scans of people younger or older than everybody whom the model was trained on."""
    ages = results.model_facts().get("AgeRange")
    if not isinstance(ages, list) or len(ages) != 2:
        return []
    known = scans["chronological_age"].dropna()
    if known.empty:
        return []
    beyond = count(int((~known.between(*ages)).sum()), "scan")
    span = f"trained on {number(ages[0], 0)} to {number(ages[1], 0)} years"
    return [("Beyond training", f"{beyond} ({span})")]


def sample_figures(
    results: StoredResults, scans: pd.DataFrame, gallery: Gallery
) -> dict[str, Picture]:
    """Scatter plots of age and gap and the histogram of ages; nothing if no age is known."""
    known = scans.dropna(subset=["chronological_age", "predicted_age"])
    if known.empty:
        return {}
    how = ", calibrated for the site" if is_calibrated(scans) else ""
    n = count(len(known), "scan")
    points = scan_points(results.output_dir, known)
    bars = "Pale bars: 95 % intervals. " if figures.intervals_drawn(known) else ""
    return {
        "scatter": gallery.picture(
            figures.age_scatter(known, how),
            "agescatter",
            f"Scatter plot of predicted against chronological age{how}, {n}",
            f"Predicted age{how}, against chronological age, one point per scan. Dashed: perfect "
            f"prediction. Dotted: answering everybody with the sample's mean age. {bars}Open "
            "circles: flagged. Thin lines join scans of one person.",
            data="group_brainage",
            points=points,
        ),
        "gap": gallery.picture(
            figures.gap_scatter(known, how),
            "agegap",
            f"Scatter plot of the gap{how}, against chronological age, {n}",
            _CALIBRATED_GAP if how else _GAP,
            data="group_brainage",
            points=points,
        ),
        "ages": gallery.picture(
            figures.age_histogram(known["chronological_age"], known["sex"]),
            "agehistogram",
            f"Histogram of chronological ages, {n}",
            "Ages of the scans. All accuracy metrics depend on this range.",
            data="group_brainage",
        ),
    }
