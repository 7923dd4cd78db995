"""The group page."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.outputs import write_mean_map, write_tables
from bidsapp_brainage.group.sample import with_numbers
from bidsapp_brainage.io import read_tsv, save_nifti, write_tsv
from bidsapp_brainage.reports.cohort.links import report_links
from bidsapp_brainage.reports.figures import drawing
from bidsapp_brainage.reports.figures.colours import STRIPE_MM
from bidsapp_brainage.reports.figures.drawing import Point, interactive_svg, marked_svg
from bidsapp_brainage.reports.group import figures as group_figures
from bidsapp_brainage.reports.group.comparisons.clinical import gap_by_group
from bidsapp_brainage.reports.group.comparisons.targets import class_calibration, number_scatter
from bidsapp_brainage.reports.group.page import write_group_report
from bidsapp_brainage.reports.group.pictures import with_gaps
from bidsapp_brainage.reports.group.quality_tables import flag_notice, flag_table
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.verdicts.sample import sample_facts
from bidsapp_brainage.reports.wording import Notice
from tests.group.derivatives import AFFINE, TEMPLATE, atlas_labels, write_derivatives
from tests.reports.synthetic import RECORD
from tests.reports.synthetic_group import WARNING, write_group_results


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 99)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 49)
    monkeypatch.setattr(drawing, "DPI", 72)


class Page(HTMLParser):
    """Collects what tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.sources, self.links, self.alts, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        if "id" in facts:
            self.ids.append(facts["id"])
        if tag == "img":
            self.sources.append(facts["src"])
            self.alts.append(facts["alt"])
        if tag == "a" and "href" in facts:
            self.links.append(facts["href"])
        assert tag not in {"link", "iframe"}

    def handle_data(self, data):
        self.text += data


def page_text(root, **facts):
    page(root, **facts)
    return [path.read_text("utf-8") for path in root.glob("group*.html")]


def page(root, *, tables=None, unreadable=(), **facts):
    (model,) = collect(root).models
    people = read_tsv(root / "participants.tsv")
    for atlas in model.atlases:
        write_mean_map(root, model.label, atlas)
    write_tables(root, analyses.summarise(model, people, seed=1, unreadable=unreadable))
    if tables is not None:
        tables()
    path = write_group_report(root, model.label, **facts)
    return Page(path.read_text("utf-8"))


def test_complete_sample(tmp_path):
    write_derivatives(tmp_path, n_participants=16, unknown_age=(2,), flagged=(3,))
    for sub in ("01", "02"):
        anatomy = np.where(atlas_labels(12) > 0, 80.0, 0).astype("f4")
        path = derivative_path(
            tmp_path,
            (("sub", sub),),
            suffix="T1w",
            extension=".nii.gz",
            space=TEMPLATE,
            res="2",
            desc="sfcn2mminput",
        )
        save_nifti(nib.Nifti1Image(anatomy, AFFINE), path)
    got = page(tmp_path, run=RECORD, written="2026-11-22T08:00:00Z")
    sections = ["summary", "sample", "prediction", "accuracy", "gap", "regions-1", "quality"]
    for name in [*sections, "exclusions", "limits", "methods", "about"]:
        assert name in got.ids
    assert len(set(got.ids)) == len(got.ids)
    assert all(source.startswith("data:") for source in got.sources)
    others = [link for link in got.links if not link.startswith("#")]
    files = [link for link in others if not link.endswith(".html")]
    assert {link for link in others if link not in files} <= {"index.html", "runs.html"}
    assert {link.rsplit(".", 1)[-1] for link in files} == {"svg", "png", "tsv"}
    assert all((tmp_path / link).is_file() for link in files)
    assert all(link[1:] in got.ids for link in got.links if link.startswith("#"))
    assert all(got.alts)
    assert len(got.sources) == 7
    for words in (
        "Mean absolute error",
        "mean age",
        "sub-04",
        "signal-to-noise ratio is low",
        "chronological age unknown",
        "1 atlas region is empty",
        "Frontoparietal",
        "group_*.tsv",
        "<bids_dir>",
    ):
        assert words in got.text
    assert "nan" not in re.findall(r"[a-z]+", got.text.lower())


@pytest.mark.parametrize("n", [1, 2, 4])
def test_small_samples_say_what_is_missing(tmp_path, n):
    write_derivatives(tmp_path, n_participants=n)
    got = page(tmp_path)
    assert "too few" in got.text
    assert "nan" not in re.findall(r"[a-z]+", got.text.lower())


def test_contradictions_between_baselines_stand_above_the_tables_and_figures(tmp_path):
    write_derivatives(tmp_path, n_participants=24, turned=(1, 4))
    place = {"atlas": "Blocks", "scale": "12", "tpl": TEMPLATE, "res": "2"}
    labels = derivative_path(tmp_path, {}, suffix="dseg", extension=".nii.gz", **place)
    save_nifti(nib.Nifti1Image(atlas_labels(12), AFFINE), labels)
    got = page(tmp_path)
    section = got.text[got.text.index("Regions: Blocks 12") :]
    verdict = section.index("The sign of the mean of 2 of the 11 leading regions depends on what")
    assert "the order of regions hardly agrees (rank correlation \N{MINUS SIGN}0.26)" in section
    assert "of 9 of the 11 leading regions is the same with background and blurred brain" in section
    assert re.search(r"blurred brain \(\d of them with q < 0.05\); on average, \d+ % of", section)
    assert verdict < section.index("Regions replaced by: background")
    assert "Berger" in got.text
    table = section[section.index("Mean contribution of every region") :]
    table = table[: table.index("Regions replaced by: blurred brain")]
    assert "Stable in people (%)" in table
    assert "q, every baseline" in table
    assert table.count("depends") == 2
    raw = next(tmp_path.glob("group*.html")).read_text("utf-8")
    facts = json.loads(html.unescape(re.search(r'data-facts="([^"]*)"', raw)[1]))
    assert sum(map(bool, facts["regions"]["marks"])) == 2
    assert facts["regions"]["measures"][0]["title"] == "mean contribution (background)"
    assert "Striped: the mean has another sign with another baseline." in got.text
    paths = (tmp_path / "figures").glob("group_atlas*.svg")
    figures = {path.name: path.read_text() for path in paths}
    assert len(figures) >= 6
    for name, text in figures.items():  # text is drawn as paths, with the words as comments
        fill = "blurred brain" if "blur" in name else "background"
        assert f"regions replaced by: {fill}" in text, name
    (bars,) = (text for name, text in figures.items() if "regioncontribution.svg" in name)
    assert group_figures.HATCHED in bars


def test_with_one_baseline_the_page_says_that_signs_may_depend_on_it(tmp_path):
    write_derivatives(tmp_path, n_participants=4)
    text = page(tmp_path).text
    assert "Whether signs depend on what replaces a region is not known" in text
    assert "Stable in people (%)" not in text


def test_a_page_about_synthetic_people_says_so(tmp_path):
    write_derivatives(tmp_path, n_participants=4)
    (tmp_path / "dataset_description.json").write_text('{"Keywords": ["synthetic"]}')
    assert "Synthetic people" in page(tmp_path).text


def test_without_ages_and_without_regions(tmp_path):
    write_derivatives(tmp_path, n_participants=3, unknown_age=(0, 1, 2))
    for path in tmp_path.rglob("*occlusion*"):
        path.unlink()
    got = page(tmp_path, unreadable=("sub-09 is broken.",))
    assert "No chronological age is known" in got.text
    assert "sub-09 is broken." in got.text
    assert "regions-1" not in got.ids
    assert not got.sources


def test_names_from_tables_are_escaped(tmp_path):
    write_derivatives(tmp_path, n_participants=2)
    for path in tmp_path.rglob("*_occlusion.tsv"):
        path.write_text(path.read_text().replace("Region 1 L", "<script>alert(1)</script>"))
    page(tmp_path)
    text = next(tmp_path.glob("group*.html")).read_text()
    assert "<script>alert" not in text


def test_points_tell_whose_they_are_and_lead_to_the_pages_that_exist(tmp_path):
    write_derivatives(tmp_path, n_participants=3, flagged=(1,))
    (tmp_path / "sub-02.html").write_text("x")
    text = next(iter(page_text(tmp_path)))
    points = re.findall(r'<(a|g) [^>]*class="point"[^>]*>', text)
    assert (points.count("a"), points.count("g")) == (2, 4)  # two figures, one page
    assert text.count('href="sub-02.html"') >= 2
    assert re.search(
        r'data-tip="sub-02: age [\d.]+, predicted [\d.]+, gap .[\d.]+ years, flagged', text
    )
    assert "point:0" not in text


def test_figures_for_a_paper_have_no_marks_of_the_page(tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    page(tmp_path)
    drawn = (tmp_path / "figures" / "group_desc-sfcn2mm_agescatter.svg").read_text()
    ElementTree.fromstring(drawn)
    assert "point:0" not in drawn
    with Image.open(tmp_path / "figures" / "group_desc-sfcn2mm_agescatter.png") as picture:
        assert min(picture.size) > 300


def test_headings_tell_what_a_q_is_of(tmp_path):
    write_derivatives(tmp_path, n_participants=6)
    (text,) = page_text(tmp_path)
    assert "sign test" not in text
    assert text.count("t test over people of the mean against zero") > 2


def _flagged(n, **columns):
    ages = pd.Series(np.linspace(20, 80, n))
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(n)],
            "scan": [f"sub-{i:02d}" for i in range(n)],
            "chronological_age": ages,
            "predicted_age": ages,
            "ci95_lower": ages - 10,
            "ci95_upper": ages + 10,
            "gap": 0.0,
            "qc_flag": "pass",
            "ood_flag": "none",
        }
    )
    return with_numbers(table.assign(**columns))


def test_flags_are_counted_on_the_first_lines():
    flags = ["unlike_training,implausible_gap", "unlike_training", *["none"] * 8]
    scans = _flagged(10, flags=flags, qc_flag=[*["pass"] * 9, "warn"])
    notice = flag_notice(scans)
    assert notice.level == "bad"
    assert notice.title == "3 of 10 scans have a flag"
    assert notice.text.endswith(": unlike training 2, implausible gap 1, image quality 1.")
    table = flag_table(scans.assign(flag_reasons="because"), pd.DataFrame(), lambda _: "")
    assert len(table.rows) == 3
    assert flag_notice(_flagged(5)) == Notice("ok", "No scan has a flag")


def test_scans_without_a_flag_are_listed_where_a_rater_doubts_them():
    verdicts = ["do not use", "usable", "look closer", "usable"]
    scans = _flagged(4, verdict=verdicts, flag_reasons=None)
    table = flag_table(scans, pd.DataFrame(), lambda _: "")
    cells = [(row[0].text, row[1].text, row[1].level) for row in table.rows]
    assert cells == [("sub-00", "do not use", "bad"), ("sub-02", "look closer", "warn")]


def test_flagged_scans_of_one_person_are_told_apart_from_people():
    people = ["sub-00", "sub-00", "sub-01", "sub-02", "sub-02"]
    scans = _flagged(5, participant_id=people, qc_flag=["warn", "warn", "warn", "pass", "pass"])
    assert flag_notice(scans).title == "3 of 5 scans (2 of 3 people) have a flag"


def test_flags_that_need_the_age_do_not_make_accuracy_look_better():
    scans = _flagged(10, flags=["age_outside_interval", *["none"] * 9])
    assert not scans["flagged"].any()
    assert flag_notice(scans).title == "1 of 10 scans has a flag"


def test_the_verdict_on_a_sample_is_made_from_its_tables(tmp_path):
    write_derivatives(tmp_path, n_participants=12, flagged=(3,))
    page(tmp_path)
    facts = sample_facts(StoredResults(tmp_path, "sfcn2mm"))
    assert (facts.n_scans, facts.n_people, facts.n_missing) == (12, 12, 0)
    metrics = read_tsv(tmp_path / "group_desc-sfcn2mm_metrics.tsv").set_index(
        ["prediction", "subset", "metric"]
    )
    assert facts.mae == metrics.loc[("raw", "all", "mae"), "value"]
    assert facts.gain.lower == metrics.loc[("raw", "all", "mae_gain"), "ci95_lower"]
    assert facts.coverage.value == metrics.loc[("raw", "all", "coverage95"), "value"]
    gaps = read_tsv(tmp_path / "group_desc-sfcn2mm_gaps.tsv").set_index(["correction", "subset"])
    assert facts.slope.value == gaps.loc[("raw", "all"), "age_slope"]
    assert facts.corrected_slope.value == gaps.loc[("applied", "all"), "age_slope"]
    table = tmp_path / "group_desc-sfcn2mm_brainage.tsv"
    levels = read_tsv(table)["verdict"]
    assert facts.n_doubtful == (levels == "look closer").sum() > 0
    write_tsv(table, read_tsv(table).drop(columns=["verdict", "verdict_reasons"]))
    older = sample_facts(StoredResults(tmp_path, "sfcn2mm"))
    assert older == facts, "tables of an earlier version are judged anew"
    path = tmp_path / "group_desc-sfcn2mm_sample.tsv"
    write_tsv(path, read_tsv(path).assign(n_excluded=3))
    assert sample_facts(StoredResults(tmp_path, "sfcn2mm")).n_missing == 3


def test_a_sample_of_which_nothing_is_known_has_a_verdict(tmp_path):
    write_derivatives(tmp_path, n_participants=2, unknown_age=(0, 1))
    got = page(tmp_path)
    assert "Look closer before you use these results" in got.text
    assert "No chronological age is known." in got.text


def test_tables_of_an_earlier_version_have_their_one_flag():
    scans = _flagged(3, ood_flag=["none", "out_of_range", "none"])
    assert flag_notice(scans).text.endswith(": out of range 1.")


def test_names_of_people_are_escaped_in_points(tmp_path):
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    points = [Point("a", evil, "sub-a.html"), Point(evil, evil)]
    scans = pd.DataFrame(
        {
            "participant_id": ["a", "b"],
            "chronological_age": [20.0, 30.0],
            "predicted_age": [21.0, 33.0],
            "ci95_lower": [10.0, 20.0],
            "ci95_upper": [30.0, 40.0],
            "flagged": [False, False],
        }
    )
    figure = group_figures.age_scatter(scans)
    text = interactive_svg(marked_svg(figure), points, identifier="x", label=evil)
    assert "<script" not in text
    assert "<img" not in text
    found = [e for e in ElementTree.fromstring(text).iter() if e.get("class") == "point"]
    assert [element.get("data-tip") for element in found] == [evil, evil]
    link = report_links(tmp_path)
    assert link("sub-../../etc/passwd") == ""
    assert link("sub-" + "x" * 5000) == ""


def test_map_to_move_through_has_the_regions_of_the_atlas(tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    labels = nib.Nifti1Image(atlas_labels(12), AFFINE)
    path = derivative_path(
        tmp_path, {"atlas": "Blocks", "scale": "12"}, suffix="dseg", extension=".nii.gz",
        tpl=TEMPLATE, res="2",
    )  # fmt: skip
    save_nifti(labels, path)
    text = next(iter(page_text(tmp_path)))
    facts = json.loads(html.unescape(re.search(r'data-facts="([^"]*)"', text)[1]))
    regions = facts["regions"]
    code = re.search(rf'id="{regions["volume"]}" data-width="1" data-volume="([^"]*)"', text)[1]
    packed = zlib.decompress(base64.b64decode(code))
    found = np.frombuffer(packed, np.uint8).reshape(facts["shape"], order="F")
    by_label = dict(zip(regions["indices"], regions["names"], strict=True))
    names = [by_label[label] for label in np.unique(found) if label]
    table = read_tsv(next(tmp_path.glob("group_*_occlusionstats.tsv")))
    wanted = table[(table["level"] == "region") & table["mean_delta_age"].notna()]["name"]
    assert sorted(names) == sorted(wanted)
    # the first region's voxels are where the atlas has them, in mm
    inside = np.argwhere(found == regions["indices"][regions["names"].index("Region 1 L")])
    to_mm = np.array(facts["affine"])
    centre = to_mm[:, :3] @ inside.mean(axis=0) + to_mm[:, 3]
    own = np.argwhere(atlas_labels(12) == 1).mean(axis=0)
    assert centre == pytest.approx(nib.affines.apply_affine(AFFINE, own))


def test_stripes_leave_every_other_gap_empty_and_the_rest_as_it_is():
    affine = np.diag([1.0, 1, 1, 1])
    image = nib.Nifti1Image(np.full((24, 24, 3), 2.0, "f4"), affine)
    where = np.zeros((24, 24, 3), bool)
    where[:, :12] = True
    values = with_gaps(image, where).get_fdata()
    assert (values[:, 12:] == 2).all()
    assert (values[:, :12] == 0).mean() == pytest.approx(0.5, abs=0.05)
    width = 2 * STRIPE_MM
    assert (values[: int(24 - width), 0, 0] == values[int(width) :, 0, 0]).all()


ATLAS = {"atlas": "Blocks", "scale": "12"}


def test_everything_that_the_group_level_found_is_shown(tmp_path):
    write_derivatives(tmp_path, n_participants=6, sessions=("1", "2"))
    tables = {}
    got = page(
        tmp_path,
        tables=lambda: tables.update(write_group_results(tmp_path, label="sfcn2mm", atlas=ATLAS)),
    )
    for words in (
        "Do not use these results as they are",
        "Some of these people were probably in the training cohort.",
        WARNING,
        "No repeats.",
        "group patient",
        "K-fold",
        "Agreement of repeated scans",
        "What if it had been done otherwise",
        "Over the lifespan",
        "In groups of age",
        "Left and right",
        "cannot tell",
        "0.10 to 0.30",
        "< 0.001",
    ):
        assert words in got.text, words
    for code in ("coverage95", "sex=F", "split half spearman", "occlusion background", "kfold"):
        assert code not in got.text, code
    assert len(set(got.ids)) == len(got.ids)
    for kind, path in tables.items():
        assert kind == "notes" or path.name in got.links, kind
    drawn = [link for link in got.links if link.endswith(".png")]
    assert all((tmp_path / link).is_file() for link in drawn)
    assert (
        sum(kind in link for link in drawn for kind in ("lifespan", "agegroups", "asymmetry")) == 3
    )
    assert got.text.index(WARNING) < got.text.index("Mean absolute error")


def test_free_text_of_the_group_tables_is_escaped(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    write_derivatives(tmp_path, n_participants=2)
    (text,) = page_text(
        tmp_path,
        tables=lambda: write_group_results(tmp_path, label="sfcn2mm", atlas=ATLAS, text=evil),
    )
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;alert") > 10


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a\tb\n1\t2\n"])
def test_broken_or_foreign_group_tables_leave_a_whole_page(tmp_path, content):
    write_derivatives(tmp_path, n_participants=2)

    def spoil():
        for path in write_group_results(tmp_path, label="sfcn2mm", atlas=ATLAS).values():
            path.write_bytes(content)

    assert "limits" in page(tmp_path, tables=spoil).ids


def test_dollars_in_names_are_no_formula():
    people = pd.DataFrame({"group": [r"$\\none$", "b"] * 3, "gap": np.arange(6.0)})
    assert marked_svg(gap_by_group(people)).startswith("<svg")


def test_figures_are_reproducible_and_survive_degenerate_data():
    zeros = nib.Nifti1Image(np.zeros((4, 4, 4), "f4"), np.eye(4))
    draw = lambda under: marked_svg(group_figures.map_slices(zeros, under))  # noqa: E731
    assert draw(None) == draw(None)
    assert draw(group_figures.mean_anatomy([zeros])).startswith("<svg")


def _scatter(n):
    age = np.linspace(20, 80, n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "chronological_age": age,
            "predicted_age": age + 1,
            "gap": 1.0,
            "ci95_lower": age - 30,
            "ci95_upper": age + 32,
            "flagged": False,
        }
    )


def test_intervals_of_the_scatter_plot_are_not_cut():
    (axes,) = group_figures.age_scatter(_scatter(5)).axes
    assert axes.get_ylim()[0] < -10
    assert axes.get_ylim()[1] > 112
    assert axes.get_xlim() == axes.get_ylim()  # the identity line is the diagonal


def test_legends_of_scatter_plots_cover_nothing():
    for draw in (group_figures.age_scatter, group_figures.gap_scatter):
        figure = draw(_scatter(5))
        figure.canvas.draw()
        (legend,) = figure.legends
        (axes,) = figure.axes
        assert axes.get_legend() is None
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_many_scans_have_no_intervals_and_the_caption_speaks_of_none():
    many = _scatter(group_figures.MANY_SCANS + 1)
    assert not group_figures.intervals_drawn(many)
    (axes,) = group_figures.age_scatter(many).axes
    assert axes.get_ylim()[0] > 10


@pytest.mark.parametrize("n", [group_figures.MOST_LINKED, group_figures.MOST_LINKED + 1])
def test_points_of_many_people_become_one_picture(n):
    people = pd.DataFrame({"gap": np.arange(n), "group": ["a"] * n})
    rows = people.assign(target="x", unit="1", value=0.5, true_value=1.0, explained=True)
    rows = rows.assign(ci95_lower=0.0, ci95_upper=1.0, **{"class": "1"})
    for figure in (gap_by_group(people), number_scatter(rows), class_calibration(rows)):
        drawn = [item for axes in figure.axes for item in axes.collections]
        points = [item for item in drawn if len(item.get_offsets()) == n]
        assert [item.get_rasterized() for item in points] == [n > group_figures.MOST_LINKED]
