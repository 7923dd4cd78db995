"""The group page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.group import summary
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.tables import write_mean_map
from bidsapp_brainage.io import read_tsv, save_nifti
from bidsapp_brainage.reports import group_figures
from bidsapp_brainage.reports.group import write_group_report
from tests.group.derivatives import AFFINE, TEMPLATE, atlas_labels, write_derivatives


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(summary, "N_BOOT", 99)


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
        if tag == "a":
            self.links.append(facts["href"])
        assert tag not in {"link", "iframe"}

    def handle_data(self, data):
        self.text += data


def page(root, **facts):
    (model,) = collect(root).models
    found = summary.summarise(model, read_tsv(root / "participants.tsv"), seed=1)
    maps = {}
    for atlas in found.atlases:
        answer = write_mean_map(root, found, atlas.result)
        if not isinstance(answer, str):
            maps[atlas.result.title] = answer.path
    path = write_group_report(root, found, maps=maps, **facts)
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
    got = page(tmp_path, command_line="bidsapp-brainage <bids_dir> <output_dir> group")
    sections = ["summary", "sample", "prediction", "accuracy", "regions-1", "quality"]
    for name in [*sections, "exclusions", "limits", "methods", "about"]:
        assert name in got.ids
    assert len(set(got.ids)) == len(got.ids)
    assert all(source.startswith("data:") for source in got.sources)
    assert all(link.startswith("#") for link in got.links)
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


def test_figures_are_reproducible_and_survive_degenerate_data():
    zeros = nib.Nifti1Image(np.zeros((4, 4, 4), "f4"), np.eye(4))
    assert group_figures.map_slices(zeros, None) == group_figures.map_slices(zeros, None)
    assert group_figures.map_slices(zeros, group_figures.mean_anatomy([zeros])).startswith("<svg")
