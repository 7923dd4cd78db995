"""The individual report: complete, self-contained, escaped, and whole when pieces are missing."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from bidsapp_brainage.bids import derivatives
from bidsapp_brainage.bids.names import derivative_path, sidecar_path
from bidsapp_brainage.bids.run_records import Failed
from bidsapp_brainage.catalogue import flags as catalogue
from bidsapp_brainage.catalogue.cards import Column, Output
from bidsapp_brainage.catalogue.lookup import output
from bidsapp_brainage.catalogue.quantity import Quantity
from bidsapp_brainage.imaging.quality import decide
from bidsapp_brainage.io import read_tsv, write_text, write_tsv
from bidsapp_brainage.reports import html, wording
from bidsapp_brainage.reports.individual import page as individual
from bidsapp_brainage.reports.individual import person_viewers
from bidsapp_brainage.reports.individual.page import SECTIONS, write_individual_report
from tests.derivatives import as_class_model
from tests.reports.synthetic import ATLAS, MODEL, RECORD, RUN, TEMPLATE, Person, write_person

EVIL = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(1)>"


class _Page(HTMLParser):
    """Tags with their attributes, identifiers, and text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._skip = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._skip += tag in {"script", "style"}

    def handle_endtag(self, tag):
        self._skip -= tag in {"script", "style"}

    def handle_data(self, data):
        if not self._skip:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def _report(root: Path, subject: str = "01", run=RUN) -> _Page:
    return _Page(write_individual_report(root, subject, run=run).read_text("utf-8"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_person(tmp_path_factory.mktemp("plain"), Person())


@pytest.fixture
def scan() -> tuple[tuple[str, str], ...]:
    return (("sub", "01"),)


def test_has_all_sections_with_navigation(plain):
    page = _report(plain)
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == [name for name, _ in SECTIONS]
    links = {attributes["href"] for attributes in page.all("a")}
    assert {f"#{name}" for name in ids} <= links


def test_shows_the_numbers(plain):
    text = _report(plain).text
    for shown in (
        "58.2",
        "46.8 to 71.1",
        "52.5",
        "+5.7",
        "+3.5",
        "20 to 82",
        "Usable: nothing speaks against this number",
        "yes",
    ):
        assert shown in text
    assert "No errors to report!" in text
    assert "Peng et al." in text  # the citation in the methods text is written out
    assert RECORD.command_line in text
    assert RECORD.run_uuid in text
    assert "Computed 2026-11-21 09:15 UTC" in text
    assert "page written 2026-11-22 08:00 UTC" in text
    assert "0123456789abcdef" * 4 in text


def test_shows_volumes_of_the_segmentation(plain, tmp_path, scan):
    text = _report(plain).text
    assert "Ventricles 31.4 2.1" in text
    assert "Left hippocampus 3.6 0.2" in text
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    derivative_path(tmp_path, scan, suffix="volumes", extension=".tsv").write_text("name\nGM\n")
    assert "Ventricles 31.4" not in _report(tmp_path).text


def test_shows_every_region_and_the_groups(plain):
    page = _report(plain)
    for number in range(1, 13):
        assert f"Region {number} L" in page.text
    tables = {attributes.get("id") for attributes in page.all("table")}
    base = f"regions-sub-01-{MODEL}-blocks-24"
    further = ("occlusiongroups", "shapley", "occlusioncurve", "occlusionpairs")
    kinds = (*further, "values", "ranks", "agreement", "occlusioncontrols", "randomisation")
    assert {base, *(f"{base}-{kind}" for kind in kinds)} <= tables
    assert "of them empty in this scan" in page.text
    shown = {column.shown[0] for column in output("table").columns} - {"", "z (null)"}  # no parcels
    assert shown
    assert all(heading in page.text for heading in shown)


def test_every_explanation_is_shown_with_its_spread_over_the_members(plain):
    text = _report(plain).text
    side_by_side = text[text.index("Contributions by explanation.") :]
    heads, _, rest = side_by_side.partition("Region 1 L")
    for title in ("Occlusion (template)", "Layer-wise", "Integrated gradients", "Learned noise"):
        assert title in heads
    row = rest[: rest.index("Region")]
    assert row.count("± 0.02") == 4
    assert row.count("± 0.03") == 1
    for table in (
        "Contributions of all 24 regions",
        "Contributions of groups",
        "Shapley values of",
    ):
        assert "SD, members" in text[text.index(table) :][:300], table


def test_a_table_of_a_new_method_is_shown_as_it_is(plain, tmp_path, scan, monkeypatch):
    card = Output(
        "bumps", "bumps", ".tsv", "bumps of the mountain", "Bumps",
        entities=("space", "atlas", "seg", "scale", "desc"), required=("desc",), desc="{model}",
        columns=(Column("height", "Height of a bump", "Above the sea.", "year"),),
    )  # fmt: skip
    monkeypatch.setattr(derivatives, "OUTPUTS", (*derivatives.OUTPUTS, card))
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    where = {"space": TEMPLATE, **ATLAS, "desc": MODEL, "suffix": "occlusion"}
    regions = derivative_path(tmp_path, scan, extension=".tsv", **where)
    rows = {"name": [EVIL] * 70, "height": [0.5, *range(69)], "flat": [True] * 70}
    write_tsv(regions.with_name(regions.name.replace("occlusion", "bumps")), pd.DataFrame(rows))
    page = _report(tmp_path)
    shown = page.text.partition("Bumps of the mountain.")[2]
    assert "Bumps: the first 50 of 70 rows" in shown
    assert "Height of a bump" in shown
    assert "48.00" in shown
    assert "49.00" not in shown
    assert any("Above the sea; unit: year" in str(head.get("title")) for head in page.all("th"))
    assert not [tag for tag in page.all("img") if "evil" in str(tag)]


def test_a_page_about_synthetic_people_says_so_under_its_title(tmp_path):
    write_person(tmp_path, Person())
    assert "Synthetic people" not in _report(tmp_path).text
    (tmp_path / "dataset_description.json").write_text('{"Keywords": ["synthetic"]}')
    assert "Synthetic people" in _report(tmp_path).text


def test_who_predicted_and_who_explained(plain, tmp_path):
    shutil.copytree(plain, tmp_path / "out")
    path = next(tmp_path.glob("out/sub-01/**/*_occlusion.json"))
    facts = json.loads(path.read_text()) | {
        "Software": {"Name": "bidsapp_brainage", "Version": "9.9.9"},
        "Explanation": {"Baselines": ["background", "blur"], "NullParcels": 50},
    }
    path.write_text(json.dumps(facts))
    text = _report(tmp_path / "out").text
    assert "Predicted by bidsapp_brainage 0.1.0" in text
    assert (
        "bidsapp_brainage 9.9.9; baselines: background, blurred brain; random parcels: 50" in text
    )


def test_is_self_contained_and_small(plain):
    path = write_individual_report(plain, "01", run=RUN)
    page = _Page(path.read_text("utf-8"))
    assert path.stat().st_size < 6_000_000
    assert not page.all("link")
    assert not page.all("iframe")
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert str(attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", path.read_text("utf-8"), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    pictures = [attributes["src"] for attributes in page.all("img")]
    assert len(pictures) == 8
    assert all(source.startswith("data:image/svg+xml,") for source in pictures)


def test_internal_links_and_references_resolve(plain):
    page = _report(plain)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("for", "aria-controls", "aria-labelledby", "data-filters", "data-copies"):
            if attributes.get(name):
                assert attributes[name] in ids
    for link in page.all("a"):
        target = str(link["href"])
        assert target.startswith(("https://", "#", "index.html#"))
        assert not target.startswith("#") or target[1:] in ids


def test_pictures_have_words_for_those_who_do_not_see_them(plain):
    assert all(attributes.get("alt") for attributes in _report(plain).all("img"))


def test_policy_forbids_requests_and_foreign_scripts(plain):
    page = _report(plain)
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src 'sha256-" in policies[0]


def test_same_input_gives_same_bytes(plain):
    first = write_individual_report(plain, "01", run=RUN).read_bytes()
    again = write_individual_report(plain, "sub-01", run=RUN).read_bytes()
    assert first == again


def test_figures_are_reproducible(plain, tmp_path):
    write_person(tmp_path, Person())
    figures = sorted(plain.glob("sub-01/figures/*.svg"))
    assert len(figures) == 8
    for path in figures:
        assert path.read_bytes() == (tmp_path / path.relative_to(plain)).read_bytes()


def test_escapes_every_free_text(tmp_path, scan):
    person = Person(decision="warn", reason=EVIL, text=EVIL)
    write_person(tmp_path, person)
    told = dict.fromkeys(("command_line", "version", "run_uuid", "started", "ended"), EVIL)
    record = replace(RECORD, **told, facts={"Versions": {EVIL: EVIL}})
    errors = [{"node": EVIL, "scan": EVIL, "message": EVIL, "traceback": EVIL}, EVIL]
    run = {"runs": [record], "methods_md": f"{EVIL} [@sfcn]", "errors": errors, "written": EVIL}
    page = _report(tmp_path, run=run | {"warnings": [EVIL]})
    assert len(page.all("script")) == 1
    assert all(str(attributes["src"]).startswith("data:") for attributes in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count("<script>alert(1)</script>") > 30


def test_methods_text_that_is_written_out_already_gives_a_list_of_references(tmp_path):
    """As with --reports-only, which only has ``logs/CITATION.md``."""
    written = "Text (Peng et al., 2021).\n\n## References\n\n- First one.\n- Second one.\n"
    write_text(tmp_path / "logs" / "CITATION.md", written)
    write_text(tmp_path / "logs" / "CITATION.bib", "@article{sfcn,}\n")
    for run in ({}, {"methods_md": written}):
        content = write_individual_report(tmp_path, "01", run=run).read_text("utf-8")
        assert "<li>First one.</li><li>Second one.</li>" in content
        assert "@article{sfcn,}" in content


def test_escapes_text_read_from_logs(tmp_path):
    write_person(tmp_path, Person())
    write_text(tmp_path / "logs" / "CITATION.md", f"Text {EVIL}\n\n## References\n\n- Ref {EVIL}\n")
    page = _report(tmp_path, run={})
    assert len(page.all("script")) == 1
    assert "Ref <script>" in page.text


def test_without_age_there_is_no_gap(tmp_path):
    write_person(tmp_path, Person(age=None))
    text = _report(tmp_path).text
    assert "The chronological age is not known, so there is no gap" in text
    assert "--age-file" in text
    assert "nan" not in text.lower().split()
    assert "NOSA importance is n/a" in text


def test_a_network_without_distribution_says_so(plain, tmp_path):
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*_agedist.*"):
        path.unlink()
    text = _report(tmp_path).text
    assert "this network answers with one number" in text
    assert "figures were removed" not in text


def test_one_number_without_distribution_has_a_figure_and_a_sentence(plain, tmp_path):
    """As from a network that answers with the age itself: the figure is there, bins are not."""
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*_agedist.tsv"):
        path.unlink()
    page = _report(tmp_path)
    assert "This model answers with one number" in page.text
    assert "probability of each age bin as" not in page.text
    assert any("Age distribution" in str(picture["alt"]) for picture in page.all("img"))


def test_reference_cohort_is_told(plain):
    text = _report(plain).text
    assert "141 people, Cohort" in text
    expected = 0.76 * 52.5 + 11.1
    assert f"were predicted {expected:.1f} years on average (SD 7.1)" in text


def test_ratings_of_the_scan_are_shown(plain, tmp_path):
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    rating = {"scan": "sub-01", "rater": "R" + EVIL, "rating": 1, "mask": "wrong", "notes": EVIL}
    rating |= {"head_motion": True, "rated_at": "2026-01-31T12:00:00Z"}
    others = [{"scan": "sub-01", "rater": "S", "rating": 4}, {**rating, "scan": "sub-02"}]
    write_tsv(tmp_path / "ratings" / "r.tsv", pd.DataFrame([rating, *others]))
    page = _report(tmp_path)
    assert page.text.count("rated this scan") == 2
    for words in (
        "rated this scan 1, exclude",
        "S rated this scan 4, excellent",
        "On 2026-01-31 12:00:00 UTC.",
    ):
        assert words in page.text
    assert "Brain mask: wrong. Seen: head motion. Notes:" in page.text
    assert len(page.all("script")) == 1


def test_a_table_of_ratings_that_cannot_be_used_is_an_error_on_the_page(plain, tmp_path):
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    write_tsv(tmp_path / "ratings" / "r.tsv", pd.DataFrame([{"scan": "sub-01", "rating": 1}]))
    text = _report(tmp_path).text
    assert "rated this scan" not in text
    assert "has no column rater" in text


def test_minimal_level_says_that_regions_are_missing(tmp_path):
    write_person(tmp_path, Person(explain=False))
    text = _report(tmp_path).text
    assert "Contributions of regions were not computed" in text
    assert "58.2" in text


def _with_row(plain, tmp_path, scan, **values):
    path = derivative_path(plain, scan, suffix="brainage", extension=".tsv", desc=MODEL)
    target = tmp_path / path.relative_to(plain)
    write_tsv(target, read_tsv(path).assign(**values))
    write_text(sidecar_path(target), sidecar_path(path).read_text())
    return _report(tmp_path)


@pytest.mark.parametrize("flag", [card.key for card in catalogue.FLAGS])
def test_flags_are_told_in_plain_words(plain, tmp_path, scan, flag):
    page = _with_row(plain, tmp_path, scan, flags=flag, flag_reasons="because of <this>")
    card = catalogue.flag(flag)
    for words in (card.title, "Because of <this>.", card.text, card.remedy):
        assert words in page.text
    assert "Usable: nothing speaks against this number" not in page.text


@pytest.mark.parametrize("column", ["flags", "ood_flag"])
def test_a_flag_of_another_version_is_shown_as_it_is(plain, tmp_path, scan, column):
    path = derivative_path(plain, scan, suffix="brainage", extension=".tsv", desc=MODEL)
    row = read_tsv(path).drop(columns=["flags", "flag_reasons"]).assign(**{column: "something_new"})
    write_tsv(tmp_path / path.relative_to(plain), row)
    page = _report(tmp_path)
    assert "something_new" in page.text
    assert "What to do:" in page.text
    assert "Usable: nothing speaks against this number" not in page.text


def test_a_true_age_outside_the_interval_gets_no_green_verdict(plain, tmp_path, scan):
    page = _with_row(plain, tmp_path, scan, chronological_age=30.0, flags="none")
    assert "Look closer before you use this number" in page.text
    assert all("ok" not in str(box.get("class")).split() for box in page.all("div"))
    assert "Chronological age 30.0, interval 46.8 to 71.1." in page.text


def test_flags_stand_before_the_numbers_with_their_own_reasons(plain, tmp_path, scan):
    text = _with_row(
        plain, tmp_path, scan, flags="implausible_gap,age_outside_interval",
        flag_reasons="predicted 29.0 years below what is expected; chronological age 61.0",
    ).text  # fmt: skip
    first = text.index("The gap is larger than a brain explains")
    second = text.index("The chronological age lies outside the 95 % interval")
    assert first < second < text.index("predicted minus chronological")
    assert "Predicted 29.0 years below what is expected. Of 1000" in text
    assert "Chronological age 61.0. This happens" in text


def test_without_calibration_no_interval_and_no_such_words(plain, tmp_path, scan):
    text = _with_row(plain, tmp_path, scan, ci95_lower=None, ci95_upper=None).text
    assert "There is no interval" in text
    assert "The card of this model has no calibration" in text
    assert "Look closer before you use this number" in text
    for word in ("stretched", "calibrated on", "calibrated by"):
        assert word not in text


def test_the_words_about_the_interval_are_those_of_its_card(plain, tmp_path, scan):
    for suffix in ("brainage", "agedist"):
        path = derivative_path(plain, scan, suffix=suffix, extension=".tsv", desc=MODEL)
        target = tmp_path / path.relative_to(plain)
        write_tsv(target, read_tsv(path))
        sidecar = json.loads(sidecar_path(path).read_text())
        sidecar["Model"]["Interval"] = "made of snow"
        write_text(sidecar_path(target), json.dumps(sidecar))
    figure = next(plain.glob("sub-01/figures/*agedist.svg"))
    write_text(tmp_path / figure.relative_to(plain), figure.read_text())
    assert "darker inside the 95 % interval, made of snow." in _report(tmp_path).text


def test_quality_decision_and_reason_are_shown(tmp_path, scan):
    rows = pd.DataFrame([{"cnr": 1.0, "decision": "fail", "decision_reason": "the mask is tiny"}])
    path = derivative_path(tmp_path, scan, suffix="qc", extension=".tsv", desc=MODEL)
    write_tsv(path, rows)
    page = _report(tmp_path)
    assert "Quality checks failed: the mask is tiny." in page.text
    assert "No age was predicted" in page.text
    assert "An image that fails the quality checks gets no age." in page.text


def test_values_of_quality_stand_beside_what_is_expected(plain, tmp_path, scan):
    path = derivative_path(plain, scan, suffix="qc", extension=".tsv", desc=MODEL)
    limits = {"brain_volume_min_ml": 1021.4, "brain_volume_max_ml": 1917.2}
    rows = read_tsv(path).assign(template_correlation=0.41, brain_volume_ml=1500.0, **limits)
    write_tsv(tmp_path / path.relative_to(plain), rows)
    write_text(
        sidecar_path(tmp_path / path.relative_to(plain)), sidecar_path(path).read_text("utf-8")
    )
    page = _report(tmp_path)
    for words in (
        "1500 mL 1021 to 1917",
        "(222 to 1890)",
        "0.41 0.45 or more",
        "(5.01 to 6.07)",
        "41 adults",
    ):
        assert words in page.text, words
    assert "brain_volume_min_ml" not in page.text
    assert {"class": "badge warn"} in page.all("span"), "the value beyond its limit is marked"


@pytest.mark.parametrize("decision", ["warn", "fail"])
def test_every_reason_of_the_quality_checks_has_a_remedy(decision):
    """The reasons are those of :func:`bidsapp_brainage.imaging.quality.decide`."""
    bad = {
        "template_correlation": 0.1 if decision == "fail" else 0.4,
        "mask_overlap_dice": 0.5 if decision == "fail" else 0.8,
        "brain_volume_ml": 100.0,
        "fov_clipped_fraction": 0.5,
        "resolution_mm": 9.0,
        "n_nan": 3,
        "dice_mask_segmentation": 0.2 if decision == "fail" else 0.8,
        "tissues_found": 1,
        "mask_edge_mm": 2.0,
        "given_mask_edge_mm": 9.0,
        "given_xfm_mm": 20.0,
        "sform_qform_mm": 20.0,
        "n_orientations": 0,
    }
    for name, value in bad.items():
        good = {
            "template_correlation": 0.9,
            "mask_overlap_dice": 0.97,
            "brain_volume_ml": 1400.0,
            "brain_volume_min_ml": 1000.0,
            "brain_volume_max_ml": 1900.0,
            "fov_clipped_fraction": 0.0,
            "resolution_mm": 1.0,
            "n_nan": 0,
            "dice_mask_segmentation": 0.97,
            "tissues_found": 3,
            "mask_edge_mm": 0.0,
            "given_mask_edge_mm": 0.0,
            "given_xfm_mm": 0.0,
            "sform_qform_mm": 0.0,
            "n_orientations": 2,
        }
        found, reason = decide(good | {name: value})
        (notice,) = wording.quality({"decision": found, "decision_reason": reason})
        assert notice.title.endswith(f": {reason}")
        assert notice.remedy, name


def test_tiny_contributions_are_shown_with_enough_decimals(plain, tmp_path, scan):
    name = {"space": TEMPLATE, **ATLAS, "desc": MODEL}
    path = derivative_path(plain, scan, suffix="occlusion", extension=".tsv", **name)
    table = read_tsv(path)
    target = tmp_path / path.relative_to(plain)
    write_tsv(target, table.assign(delta_age=table["delta_age"] / 1000))
    text = _report(tmp_path).text
    assert re.search(r"changes by [+\N{MINUS SIGN}]0\.00[1-9]\d* years", text)
    assert "this model hardly uses single regions" in text


def _with_baselines(plain, tmp_path, scan, turn=lambda rows: rows, **agreement):
    """The page where the table of all baselines, and that of the agreement, say something else."""
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    name = {"space": TEMPLATE, **ATLAS, "desc": MODEL}
    for suffix, change in (
        ("occlusionbaselines", turn),
        ("agreement", lambda rows: rows.assign(**agreement)),
    ):
        path = derivative_path(tmp_path, scan, suffix=suffix, extension=".tsv", **name)
        write_tsv(path, change(read_tsv(path)))
    return _report(tmp_path)


def _turned(rows, regions, by=-1.0):
    there = rows["index"].isin(regions) & (rows["baseline"] == "template")
    return rows.assign(delta_age=rows["delta_age"].where(~there, by * rows["delta_age"].abs()))


def test_contradictions_stand_before_the_strongest_region(plain, tmp_path, scan):
    text = _with_baselines(plain, tmp_path, scan, spearman=-0.05).text
    verdict = text.index("leading regions depends on what replaces them")
    assert re.search(r"The sign of \d+ of the 20 leading regions depends on", text)
    assert "the order of regions hardly agrees (rank correlation −0.05)" in text
    assert "is the same with background and template, and larger than" in text
    assert verdict < text.index("Strongest with background") < text.index("Hide small values")
    assert "Red regions" in text
    assert "Regions were replaced by: background." in text


def test_a_strongest_region_without_a_stable_sign_is_not_named(plain, tmp_path, scan):
    text = _with_baselines(plain, tmp_path, scan, lambda rows: _turned(rows, [1])).text
    sentence = text[text.index("The region with the largest") :][:300]
    assert "is not named: its sign is not stable" in sentence
    assert "Strongest with background among those whose sign is: Region 1 R;" in sentence
    everything = range(1, 25)
    text = _with_baselines(plain, tmp_path, scan, lambda rows: _turned(rows, everything, 0.0)).text
    assert "No strongest region is named: no sign is stable." in text


def test_what_holds_with_every_baseline_is_said_without_a_warning(plain, tmp_path, scan):
    def alike(rows):
        return rows.assign(delta_age=rows["delta_age"].abs().clip(lower=0.5))

    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    name = {"space": TEMPLATE, **ATLAS, "desc": MODEL}
    path = derivative_path(tmp_path, scan, suffix="occlusion", extension=".tsv", **name)
    rows = read_tsv(path)
    write_tsv(path, rows.assign(delta_age=rows["delta_age"].abs()))
    page = _with_baselines(tmp_path, tmp_path / "two", scan, alike, spearman=0.9)
    assert "The sign of all 20 leading regions that have one holds whatever" in page.text
    assert "depends on what replaces" not in page.text
    assert "Strongest with background, its sign stable: Region 1 L;" in page.text


def test_with_one_baseline_nobody_knows_whether_signs_depend_on_it(plain, tmp_path, scan):
    def one(rows):
        return rows[rows["baseline"] == "background"]

    text = _with_baselines(plain, tmp_path, scan, one).text
    known = text.index("Whether signs depend on what replaces a region is not known")
    assert "Regions were replaced in one way only (background)." in text
    assert "--occlusion-baseline" in text
    assert known < text.index("Strongest with background: Region 1 L;")


def test_signs_that_are_not_stable_are_marked_in_table_and_bars(plain, tmp_path, scan):
    def rough(rows):
        return rows.assign(delta_age_sd_members=np.where(rows["index"] == 2, 9.0, 0.0))

    page = _with_baselines(plain, tmp_path, scan, rough)
    badges = {tag["class"] for tag in page.all("span") if "badge" in str(tag.get("class"))}
    assert {"badge ok", "badge bad", "badge warn"} <= badges
    for words in ("stable", "depends", "uncertain", "n/a"):
        assert words in page.text
    bars = [str(tag["class"]) for tag in page.all("i") if "er" in str(tag.get("class"))]
    assert any("striped" in kind for kind in bars)
    assert not all("striped" in kind for kind in bars)


def test_the_marks_of_the_map_are_those_of_the_table(plain):
    image, contributions = [
        json.loads(tag["data-facts"]) for tag in _report(plain).all("div") if "data-facts" in tag
    ]
    assert "regions" not in image
    regions = contributions["regions"]
    marked = {name for name, mark in zip(regions["names"], regions["marks"], strict=True) if mark}
    assert {"Region 2 L", "Region 3 R"} <= marked
    assert "Region 1 L" not in marked
    assert regions["measures"][0]["title"] == "contribution (background)"


def test_without_room_there_are_no_viewers_but_all_pictures(plain):
    whole = _report(plain)
    path = write_individual_report(plain, "01", run=RUN, viewer_room=0)
    page = _Page(path.read_text("utf-8"))
    assert not [tag for tag in page.all("div") if "data-viewer" in tag]
    assert not [tag for tag in page.all("div") if "data-volume" in tag]
    assert len(page.all("img")) == len(whole.all("img"))
    assert len([tag for tag in whole.all("div") if "data-volume" in tag]) == 4


@pytest.mark.parametrize("content", [b"", b"index\tname\n1\tA\n", b"\xff\xfe"])
def test_a_broken_table_of_the_segmentation_leaves_the_rest_of_the_viewer(
    plain, tmp_path, scan, content
):
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    path = derivative_path(tmp_path, scan, suffix="dseg", extension=".tsv")
    path.write_bytes(content)
    image, contributions = [
        json.loads(tag["data-facts"]) for tag in _report(tmp_path).all("div") if "data-facts" in tag
    ]
    assert {"grey", "mask"} <= set(image)
    assert "segmentation" not in image
    assert "regions" in contributions


def test_nothing_but_errors(tmp_path):
    error = {
        "node": "conform",
        "scan": "sub-09",
        "message": "all voxels are zero",
        "traceback": "Traceback\nDataError: sub-09_T1w.nii.gz: all voxels are zero",
    }
    failed = Failed("sub-09", "conform", "all voxels are zero")
    record = replace(RECORD, scans=("sub-09",), failures=(failed,))
    page = _report(tmp_path, "09", run={**RUN, "runs": [record], "errors": [error]})
    assert [attributes["id"] for attributes in page.all("section")] == [n for n, _ in SECTIONS]
    assert "Do not use this number" in page.text
    assert "No age was predicted. Conform: all voxels are zero." in page.text
    assert "sub-09 conform: all voxels are zero" in page.text
    assert "DataError: sub-09_T1w.nii.gz" in page.text
    assert "No errors to report!" not in page.text


def test_works_with_nothing_at_all(tmp_path):
    page = _report(tmp_path, "09", run={})
    assert "There is no methods text" in page.text
    assert "No errors to report!" in page.text


def test_every_missing_file_leaves_a_whole_page(plain, tmp_path, monkeypatch):
    """Leave out one file after the other."""
    monkeypatch.setattr(person_viewers, "scan_volumes", lambda *args: None)  # images stay
    files = [p for p in plain.rglob("*") if p.is_file() and ".work" not in p.parts]
    files = [p for p in files if p.suffix != ".html" and p.suffix != ".gz"]
    assert len(files) >= 14
    for left_out in files:
        for path in files:
            target = tmp_path / path.relative_to(plain)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() and path != left_out:
                target.symlink_to(path)
        (tmp_path / left_out.relative_to(plain)).unlink(missing_ok=True)
        page = _report(tmp_path)
        assert len(page.all("section")) == len(SECTIONS), left_out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a\tb\n1\t2\n", b"one,two\n"])
def test_broken_tables_are_reported_not_raised(plain, tmp_path, scan, content):
    for suffix in ("brainage", "agedist", "qc"):
        path = derivative_path(tmp_path, scan, suffix=suffix, extension=".tsv", desc=MODEL)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    name = {"space": TEMPLATE, **ATLAS, "desc": MODEL}
    path = derivative_path(tmp_path, scan, suffix="occlusion", extension=".tsv", **name)
    path.write_bytes(content)
    sidecar_path(path).write_bytes(b"[1, 2")
    page = _report(tmp_path)
    assert len(page.all("section")) == len(SECTIONS)
    assert "No age was predicted" in page.text
    assert "is not valid JSON" in page.text


def test_a_participant_gets_no_files_of_another_with_a_longer_label(plain, tmp_path):
    write_person(tmp_path, Person(subject="010", explain=False))
    write_person(tmp_path, Person(subject="01", explain=False))
    page = _report(tmp_path, "01")
    assert "010" not in page.text


def test_sessions_are_kept_apart_and_share_one_page(tmp_path):
    write_person(tmp_path, Person(sessions=("1", "2"), explain=False))
    page = _report(tmp_path)
    blocks = {attributes.get("data-scan") for attributes in page.all("div")} - {None}
    assert blocks == {"sub-01_ses-1", "sub-01_ses-2"}
    assert "All sessions were given the same chronological age" in page.text
    scans = [str(option.get("value")) for option in page.all("option")]
    assert [name for name in scans if name.startswith("sub-")] == sorted(blocks)


def test_many_scans_stay_within_the_budget(plain, monkeypatch):
    whole = write_individual_report(plain, "01", run=RUN).stat().st_size
    monkeypatch.setattr(individual, "PAGE_BUDGET", whole - 60_000)
    path = write_individual_report(plain, "01", run=RUN)
    assert path.stat().st_size <= whole - 60_000
    assert path.read_text().count("image/jpeg") == 7


def test_a_page_about_a_class_speaks_of_no_age(tmp_path: Path) -> None:
    root = as_class_model(write_person(tmp_path, Person()), {"sub-01": "CN"})
    page = write_individual_report(root, "01", run=RUN).read_text()
    assert "<title>Predicted probability of diagnosis AD of sub-01" in page
    assert "All that the network predicts (sub-01_desc-sfcn2mm_predictions.tsv)." in page
    assert "There is no prediction" not in page
    begin = page.index("Each region was hidden")
    regions = page[begin : page.index('id="quality"', begin)]
    plain = re.sub(r'class="[^"]*"|data:[^"]*', "", regions)
    for word in ("years", "redicted age", "look older", "look younger"):
        assert word not in plain, word
    assert "percentage points" in plain


def test_names_of_targets_and_classes_are_escaped_in_sentences():
    text = "{% filter about(quantity) %}<p>change of the predicted age</p>{% endfilter %}"
    page = html.environment().from_string(text).render(quantity=Quantity(EVIL, EVIL, "percent"))
    words = escape(f"probability of {EVIL} {EVIL}")
    assert page == f"<p>change of the predicted {words}</p>"
