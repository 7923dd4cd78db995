from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.bids.names import (
    ReportLayout,
    bids_uri,
    derivative_path,
    log_dir,
    output_path,
    parse_name,
    report_path,
    report_places,
    scan_entities,
    sidecar_path,
)
from bidsapp_brainage.catalogue.lookup import OUTPUTS
from bidsapp_brainage.errors import WorkflowError
from tests.bids.output_names import NAMES, ROOT_NAMES, SCAN


@pytest.mark.parametrize(("wanted", "name"), NAMES)
def test_names_of_scans(wanted, name):
    made = derivative_path(Path("/out"), SCAN, **{"extension": ".nii.gz", **wanted})
    assert made.relative_to("/out").as_posix() == name


@pytest.mark.parametrize(("wanted", "name"), ROOT_NAMES)
def test_names_without_participant(wanted, name):
    made = derivative_path(Path("/out"), (), **{"extension": ".nii.gz", **wanted})
    assert made.relative_to("/out").as_posix() == name


def test_sessions_are_optional_and_runs_are_kept_as_written():
    name = derivative_path(
        Path(), (("sub", "01"), ("run", "02")), suffix="T1w", extension=".json", desc="preproc"
    )
    assert name.as_posix() == "sub-01/anat/sub-01_run-02_desc-preproc_T1w.json"


@pytest.mark.parametrize(
    "wanted",
    [
        {"suffix": "bold", "extension": ".nii.gz"},
        {"suffix": "T1w", "extension": ".h5"},
        {"suffix": "brainage", "extension": ".tsv"},  # which model?
        {"suffix": "T1w", "extension": ".nii.gz", "colour": "red"},
        {"suffix": "T1w", "extension": ".nii.gz", "desc": "a-b"},
        {"suffix": "T1w", "extension": ".nii.gz", "desc": "../x"},
    ],
)
def test_there_is_no_other_name(wanted):
    with pytest.raises(WorkflowError):
        derivative_path(Path("/out"), SCAN, **wanted)


def test_parts_of_a_name():
    path = Path("sub-01_ses-1_acq-x_run-01_desc-preproc_T1w.nii.gz")
    assert parse_name(path)["suffix"] == "T1w"
    assert parse_name(path)["extension"] == ".nii.gz"
    assert scan_entities(path) == (("sub", "01"), ("ses", "1"), ("acq", "x"), ("run", "01"))
    assert sidecar_path(path).name == "sub-01_ses-1_acq-x_run-01_desc-preproc_T1w.json"


def test_other_places():
    assert report_path(Path("/o"), "01") == Path("/o/sub-01.html")
    assert log_dir(Path("/o"), "01", "u") == Path("/o/sub-01/log/u")


def test_uri_of_a_link_out_of_the_dataset(tmp_path):
    root = tmp_path / "bids"
    root.mkdir()
    (tmp_path / "annex").touch()
    (root / "sub-01_T1w.nii.gz").symlink_to(tmp_path / "annex")
    assert bids_uri(root / "sub-01_T1w.nii.gz", root, "raw") == "bids:raw:sub-01_T1w.nii.gz"


@pytest.mark.parametrize("card", [c for c in OUTPUTS if c.level != "dataset"], ids=lambda c: c.key)
def test_every_card_makes_a_name(card):
    known = {"desc", "space"} if card.space else {"desc"}
    labels = dict.fromkeys(set(card.required) - known, "x")
    labels |= {"tpl": "x"} if card.level == "template" else {}
    scan = SCAN if card.level in ("subject", "figures") else ()
    if card.suffix:
        path = output_path(Path("/out"), card.key, scan, model="sfcn", **labels)
        assert path.name.endswith(card.suffix + card.extension)
        assert parse_name(path).get("desc", "") == card.desc.format(model="sfcn")


@pytest.mark.parametrize(
    ("level", "person", "session"),
    [
        ("root", "sub-01.html", "sub-01_ses-2.html"),
        ("subject", "sub-01/sub-01.html", "sub-01/sub-01_ses-2.html"),
        ("session", "sub-01/sub-01.html", "sub-01/ses-2/sub-01_ses-2.html"),
    ],
)
def test_pages_lie_where_the_level_says(level, person, session):
    out = Path("/out")
    assert report_path(out, "01", level=level) == out / person
    assert report_path(out, "01", "2", level=level) == out / session
    assert out / person in report_places(out, "01")
    assert out / session in report_places(out, "01", "2")


@pytest.mark.parametrize(
    ("layout", "sessions", "shown"),
    [
        (ReportLayout(), "1234", [None]),
        (ReportLayout(), "12345", ["1", "2", "3", "4", "5"]),
        (ReportLayout(aggregate=1), ["2", "1", "2"], ["1", "2"]),
        (ReportLayout(aggregate=1), ["", "1", "2"], ["", "1", "2"]),
        (ReportLayout(aggregate=1), ["", "1"], [None]),
        (ReportLayout(level="session"), ["1"], ["1"]),
        (ReportLayout(level="session"), [""], [""]),
        (ReportLayout(level="session"), [], [None]),
        (ReportLayout(level="subject"), "12", [None]),
    ],
)
def test_more_sessions_than_wanted_on_one_page_have_pages_of_their_own(layout, sessions, shown):
    pages = layout.pages(Path("/out"), "01", sessions)
    assert list(pages) == shown
    for session, page in pages.items():
        assert page == report_path(Path("/out"), "01", session or "", level=layout.level)
