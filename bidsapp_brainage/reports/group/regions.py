"""What the group page shows about the regions of one atlas."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import pandas as pd

from bidsapp_brainage.catalogue import levels as words
from bidsapp_brainage.catalogue.lookup import baseline_title
from bidsapp_brainage.reports import wording
from bidsapp_brainage.reports.group import curves, figures, region_tables
from bidsapp_brainage.reports.group.comparisons.age_table import network_table
from bidsapp_brainage.reports.group.comparisons.second_opinions import region_sections
from bidsapp_brainage.reports.group.pictures import (
    Gallery,
    Picture,
    group_viewer,
    mean_map_figure,
)
from bidsapp_brainage.reports.group.result_tables import shown_tables
from bidsapp_brainage.reports.group.results import ATLAS_RESULTS
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import count
from bidsapp_brainage.reports.same_groups import repeats
from bidsapp_brainage.reports.wording import Notice
from bidsapp_brainage.stats.regional.regions import notes
from bidsapp_brainage.stats.regional.signs import N_LEADING, Verdict, verdict
from bidsapp_brainage.stats.verdicts import region_verdict, sentence

ALPHA = 0.05
#: Equal in all of these: made of the same regions.
_SAME = ("n_regions", "mean_volume_mm3", "mean_delta_age", "mean_abs_delta_age")
_TOGETHER = ("stable", "share_stable", "p_stable", "q_stable")
_PAIRS = ("explanation_a", "explanation_b", "measure", "mean")

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
        "The pairs with the largest difference between left and right; a star marks q < 0.05, a "
        "dagger a difference that has another sign with another baseline.",
    ),
)


def atlas_section(
    results: StoredResults, entities: Mapping[str, str], gallery: Gallery, *, position: int
) -> dict[str, object]:
    """Everything that the page shows about one atlas; its position is for identifiers."""
    identifier = f"regions-{position}"
    table = _with_signs(results.rows("occlusionstats", entities))
    parts = list(table.groupby("baseline", dropna=False, sort=False))  # the main one first
    first = parts[0][1]
    how = _replaced(parts[0][0])
    known = _known(table, results.rows("agreementstats", entities, needs=_PAIRS))
    return {
        "id": identifier,
        "title": " ".join(entities.values()),
        "notes": notes(table),
        "verdict": _told(table, known),
        "judged": region_verdict(known),
        "viewer": group_viewer(
            results, entities, first[first["level"] == "region"], f"{identifier}-brain"
        ),
        "map": _map_picture(results, entities, gallery, first, how),
        "baselines": [
            _baseline(str(name), part, f"{identifier}-{fill}", entities, gallery)
            for fill, (name, part) in enumerate(parts)
        ],
        "curves": _curve_pictures(results, entities, gallery, how),
        "network_ages": network_table(results, entities, identifier),
        "opinions": region_sections(results, entities, gallery, identifier),
        "further": shown_tables(results, ATLAS_RESULTS, identifier, entities),
    }


def _with_signs(table: pd.DataFrame) -> pd.DataFrame:
    """With the columns about all baselines, which tables of earlier versions lack."""
    absent = [name for name in _TOGETHER if name not in table]
    return table.reindex(columns=[*table.columns, *absent])


def _known(table: pd.DataFrame, agreement: pd.DataFrame) -> Verdict:
    """What holds of the means over people with every baseline, and what does not."""
    rows = table[table["level"] == words.REGION.key]
    pairs = agreement
    if len(pairs):
        pairs = pairs[pairs["measure"] == "spearman"].rename(columns={"mean": "spearman"})
    return verdict(rows, pairs, value="mean_delta_age")


def _told(table: pd.DataFrame, known: Verdict) -> list[Notice]:
    """The same in words, with the share of people who agree."""
    rows = table[table["level"] == words.REGION.key]
    leading = rows[rows["rank"] <= N_LEADING].drop_duplicates("index")
    share, q = leading["share_stable"].mean(), leading["q_stable"].dropna()
    more = "" if q.empty else f" ({int((q < ALPHA).sum())} of them with q < {ALPHA:g})"
    if pd.notna(share):
        more += f"; on average, {100 * share:.0f} % of people have a stable sign of their own there"
    return wording.contributions(known, of="the sign of the mean", beyond=more)


def _replaced(baseline: object) -> str:
    """By what regions were replaced, for figures."""
    return f"regions replaced by: {baseline_title(str(baseline))}"


def _curve_pictures(
    results: StoredResults, entities: Mapping[str, str], gallery: Gallery, how: str
) -> dict[str, Picture | None]:
    """Lifespan, age groups and asymmetry, as far as there are tables of them."""
    drawn: dict[str, Picture | None] = {suffix: None for suffix, *_ in _CURVES}
    for suffix, draw, alt, caption in _CURVES:
        rows = results.rows(suffix, entities)
        if rows.empty or not {"name", "pair"} & set(rows):
            continue
        rows = _one_baseline(rows)
        level = curves.best_level(rows) if "level" in rows else "pair"
        if not level:
            continue
        part = rows[rows["level"] == level] if "level" in rows else rows
        figure = draw(part.replace({"name": words.SIDES}), how)
        title = f"{alt} by {words.level_title(level).lower()}"
        drawn[suffix] = gallery.picture(
            figure, suffix, title, f"{caption} {sentence(how)}", entities=entities, data=suffix
        )
    return drawn


def _one_baseline(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first baseline, where a table has several."""
    if "baseline" not in rows or rows["baseline"].isna().all():
        return rows
    return rows[rows["baseline"] == rows["baseline"].dropna().iloc[0]]


def _baseline(
    name: str, table: pd.DataFrame, identifier: str, entities: Mapping[str, str], gallery: Gallery
) -> dict[str, object]:
    regions = table[table["level"] == words.REGION.key]
    shown = min(figures.MANY_BARS, int((regions["n_participants"] > 0).sum()))
    picture = functools.partial(gallery.picture, entities=entities, data="occlusionstats")
    fill = "" if identifier.endswith("-0") else "".join(filter(str.isalnum, name))
    replaced = _replaced(name)
    groups = []
    for level, part, again in _groups(table):
        kind = "".join(filter(str.isalnum, level))
        how = f"{region_tables.how_occluded(level)}; {replaced}"
        groups.append(
            {
                "title": words.level_title(level),
                "picture": picture(
                    figures.contribution_bars(part, how),
                    f"{kind}contribution{fill}",
                    f"Bar chart of the mean contribution by {words.level_title(level).lower()}",
                    sentence(replaced),
                ),
                "table": region_tables.group_table(part, level, identifier=f"{identifier}-{kind}"),
                "again": again,
            }
        )
    return {
        "name": baseline_title(name),
        "ranking": picture(
            figures.contribution_bars(regions, replaced),
            f"regioncontribution{fill}",
            f"Bar chart of the mean contribution of {count(shown, 'region')}",
            f"The {count(shown, 'region')} whose occlusion changes the predicted age most; "
            f"{replaced}.",
        ),
        "groups": groups,
        "table": region_tables.region_table(regions, identifier=f"{identifier}-table"),
    }


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, list[str]]]:
    """Each level with its groups, and the names of those that an earlier level has shown."""
    levels = _group_levels(table)
    parts = [table[table["level"] == level].replace({"name": words.SIDES}) for level in levels]
    again = repeats(pd.concat([*parts, table.iloc[:0]]), _SAME)
    for level, part in zip(levels, parts, strict=True):
        shown = part[~again[part.index]]
        if len(shown):
            yield level, shown, list(part.loc[again[part.index], "name"].astype(str))


def _group_levels(table: pd.DataFrame) -> list[str]:
    """Levels of groups occluded as one; where there are none, of means over their regions."""
    there = set(table["level"])
    best = (
        next((key for key in (level.key, words.mean_level(level.key)) if key in there), "")
        for level in words.GROUPINGS
    )
    return [key for key in best if key]


def _map_picture(
    results: StoredResults,
    entities: Mapping[str, str],
    gallery: Gallery,
    rows: pd.DataFrame,
    how: str,
) -> Picture | None:
    mean_map = results.mean_map(entities)
    if mean_map is None:
        return None
    turning = rows[(rows["level"] == words.REGION.key) & rows["stable"].eq(False)]
    figure, striped = mean_map_figure(results, entities, mean_map, turning["index"].to_list(), how)
    stripes = " Striped: the mean has another sign with another baseline." if striped else ""
    people = count(mean_map.n_participants, "participant")
    return gallery.picture(
        figure,
        "meanmap",
        "Axial slices of the mean occlusion map",
        f"Mean change of predicted age over {people}, aligned affinely to {mean_map.space}. "
        "Red: the region makes the brain look older; blue: younger. Left of the picture is left "
        f"of the brain. {sentence(how)}{stripes}",
        entities=entities,
        data="occlusionstats",
        look="brain",
    )
