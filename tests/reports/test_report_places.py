"""Pages of people where the options want them: links lead there and back, nothing old is left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bidsapp_brainage.bids.derivatives import Reports, tried_participants
from bidsapp_brainage.io import write_text
from bidsapp_brainage.running.outcome import Failure
from bidsapp_brainage.running.pages import rewrite_pages
from bidsapp_brainage.running.recording.recorder import Recorder
from bidsapp_brainage.settings import Settings, build_settings
from tests.reports.browsing import open_page
from tests.reports.synthetic import Person, write_person

TWICE = ("sub-02_ses-1", "sub-02_ses-2")
#: Options, and the pages that they make of one person without sessions and one with two.
CHOICES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "root": ({}, ("sub-01.html", "sub-02.html")),
    "split": (
        {"aggregate_session_reports": 1},
        ("sub-01.html", *(f"{scan}.html" for scan in TWICE)),
    ),
    "subject": (
        {"report_output_level": "subject"},
        ("sub-01/sub-01.html", "sub-02/sub-02.html"),
    ),
    "session": (
        {"report_output_level": "session"},
        ("sub-01/sub-01.html", *(f"sub-02/ses-{n}/{TWICE[n - 1]}.html" for n in (1, 2))),
    ),
}


#: Fails if a picture cannot be shown; how many there are.
_LOADED = """async () => {
  for (const image of document.images) { image.loading = "eager"; await image.decode(); }
  return document.images.length;
}"""


def settings(root: Path, **options: object) -> Settings:
    given = {"work_dir": root / "work", "run_uuid": "20260101-000000_first", **options}
    return build_settings(root / "bids", root / "out", ("participant",), given)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    write_person(root / "out", Person(explain=False))
    write_person(root / "out", Person(subject="02", sessions=("1", "2"), years=2.0, explain=False))
    scans = {"01": ["sub-01"], "02": list(TWICE)}
    recorder = Recorder(settings(root), "participant")
    recorder.start_all(scans)
    node = "bidsapp_brainage_wf.sub_02_ses_2_wf.conform"
    crash = f"Node: {node}\nbidsapp_brainage.errors.DataError: the second is empty\n"
    log = root / "out" / "sub-02" / "log" / "20260101-000000_first"
    write_text(log / "crash-1.txt", crash)
    recorder.finish_all(scans, [Failure(TWICE[1], "conform", "the second is empty")])
    return root


@pytest.fixture(scope="module", params=CHOICES)
def laid(root: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The output folder after another choice, with the names of the pages of people."""
    options, pages = CHOICES[request.param]
    assert rewrite_pages(settings(root, reports_only=True, **options)) == 0
    yield root / "out", pages


def targets(page: Path) -> list[str]:
    """Files beside the page that its links name."""
    links = re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', page.read_text("utf-8"))
    return [unquote(link) for link in links]


def test_every_person_has_the_pages_of_the_options_and_no_others(laid: Any) -> None:
    out, pages = laid
    found = {path.relative_to(out).as_posix() for path in out.rglob("sub-*.html")}
    assert found == set(pages)
    assert tried_participants(out) == {"sub-01", "sub-02"}
    reports = Reports(out)
    assert reports.page("sub-01") == out / pages[0]
    assert [reports.page(scan) for scan in TWICE] == [out / pages[1], out / pages[-1]]
    assert reports.page("sub-03") is None


def test_all_links_lead_to_files(laid: Any) -> None:
    out, pages = laid
    for name in (*pages, "index.html", "runs.html"):
        page = out / name
        assert targets(page)
        for target in targets(page):
            assert (page.parent / target).resolve().is_file(), (name, target)
    data = re.search(r'id="cohort-data"[^>]*>(.*?)</script>', (out / "index.html").read_text())
    assert data
    assert json.loads(data[1])["page"] == [pages[0], pages[1], pages[-1]]
    assert pages[-1] in targets(out / "runs.html")  # where it failed


def test_a_page_of_a_session_tells_of_this_session_beside_the_ages_of_all(laid: Any) -> None:
    out, pages = laid
    first, last = ((out / pages[n]).read_text("utf-8") for n in (1, -1))
    split = len(pages) == 3
    assert ("<h1>Brain age of sub-02, ses-1</h1>" in first) == split
    assert (f'data-scan="{TWICE[1]}"' not in first) == split
    assert f'data-scan="{TWICE[0]}"' in first
    assert ("the second is empty" not in first) == split
    assert "the second is empty" in last
    for text in (first, last):
        assert 'id="sessions"' in text
        assert "ses-2 (54.5 years)" in text


@pytest.mark.browser
def test_pages_and_their_pictures_open_by_links_and_share_drafts(browser: Any, laid: Any) -> None:
    out, pages = laid
    beside = (*pages, "_thumbnails.jpg", "index.html")
    for window in open_page(browser, out / "index.html", beside=beside):
        window.locator(f"a[href='{pages[0]}']").first.click()
        window.wait_for_url(f"**/{pages[0]}")
        for name, following in zip(pages, (*pages[1:], ""), strict=True):
            assert window.url == (out / name).as_uri()
            assert window.evaluate(_LOADED) > 3
            rater = window.locator("[data-rating-bar] input").first
            rater.fill("Ann")
            rater.press("Tab")
            assert window.evaluate("Object.keys(localStorage)") == [
                f"brainage-ratings {out.as_uri()}/"
            ]
            if following:
                window.get_by_role("link", name="Next").click()
                window.wait_for_url(f"**/{following}")
        window.get_by_role("link", name="All scans").click()
        window.wait_for_url("**/index.html")
        assert (
            TWICE[-1 if len(pages) == 3 else 0]
            in window.locator("[data-part=chosen] h3").inner_text()
        )
