"""Ratings from the keyboard to the tables of the group, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.bids.ratings import read_ratings
from bidsapp_brainage.cli.run import main
from bidsapp_brainage.group import analyses
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.reports.cohort.page import write_cohort_page
from bidsapp_brainage.reports.figures import drawing
from bidsapp_brainage.reports.individual.page import write_individual_report
from tests.group.derivatives import write_derivatives
from tests.reports.browsing import open_page, violations
from tests.reports.synthetic import RUN, Person, write_person

pytestmark = pytest.mark.browser


@pytest.fixture
def person(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Page of a person with two scans."""
    root = write_person(tmp_path, Person(sessions=("1", "2"), explain=False))
    yield from open_page(browser, write_individual_report(root, "01", run=RUN))


def _start(page: Any, rater: str) -> Any:
    """Say who rates, and switch the keys on."""
    page.get_by_label("Rated by").fill(rater)
    page.get_by_role("button", name="Rate with the keyboard").click()
    return page.locator("[data-rating-bar]")


def _export(page: Any, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.keyboard.press("x")
    waiting.value.save_as(folder / waiting.value.suggested_filename)
    return folder / waiting.value.suggested_filename


def _group(root: Path, *options: str) -> Any:
    assert main([str(root / "raw"), str(root), "group", *options]) == 0
    return read_tsv(root / "group_desc-sfcn2mm_brainage.tsv").set_index("scan")


def test_three_scans_rated_by_keyboard_change_the_tables_of_the_group(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyses, "N_BOOT", 29)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 9)
    monkeypatch.setattr(drawing, "DPI", 72)
    root = write_derivatives(tmp_path / "out", n_participants=8, maps=False, groups=False)
    before = _group(root)
    for page in open_page(browser, root / "index.html", beside=("_thumbnails.jpg",)):
        bar = _start(page, "Ann")
        for key in "n1mn2n4":
            page.keyboard.press(key)
        page.reload()
        bar.get_by_text("Export all ratings (3)").wait_for()
        path = _export(page, tmp_path)
    assert path.name == "ratings_Ann.tsv"
    scans = list(read_ratings(path)["scan"])
    assert len(scans) == 3
    after = _group(root, "--ratings", str(path), "--min-rating", "2")
    assert set(before.index) - set(after.index) == {scans[0]}
    assert dict(after["rating"].dropna()) == {scans[1]: 2, scans[2]: 4}
    assert after.loc[scans[1], "verdict"] == "look closer"
    assert "Rated 2, poor by Ann" in after.loc[scans[1], "verdict_reasons"]
    for page in open_page(browser, root / "group_desc-sfcn2mm_brainage.html"):
        rows = page.locator("#rating-table tbody tr")
        texts = rows.all_inner_texts()
        assert [text.split()[0] for text in texts] == scans
        assert ["left out" in text for text in texts] == [True, False, False]
        assert "head motion" in texts[0]
        assert "7 participants" in page.locator("header").inner_text()
        assert scans[0] in page.locator("#exclusion-table").inner_text()
        assert violations(page) == []
    for page in open_page(browser, root / "index.html", beside=("_thumbnails.jpg",)):
        row = page.locator("[data-row]", has_text=scans[0])
        assert "do not use" in row.inner_text()


def test_keys_walk_over_the_scans_of_a_person_and_drafts_survive(
    person: Any, tmp_path: Path
) -> None:
    bar, forms = _start(person, "Ann"), person.locator("[data-rating-form]")
    for key in "3no1":
        person.keyboard.press(key)
    assert "sub-01_ses-2: 1 exclude, noise" in bar.inner_text()
    person.keyboard.press("t")
    person.keyboard.type("1 x n")  # letters are letters in a field
    person.keyboard.press("Escape")
    person.keyboard.press("o")
    person.reload()
    assert forms.nth(0).get_by_label("3 acceptable").is_checked()
    assert forms.nth(1).get_by_label("1 exclude").is_checked()
    assert not forms.nth(1).get_by_label("noise").is_checked()
    person.keyboard.press("3")  # taken back, and the keys are still on
    assert not forms.nth(0).get_by_label("3 acceptable").is_checked()
    (row,) = read_ratings(_export(person, tmp_path)).to_dict("records")
    assert (row["scan"], row["rating"], row["notes"]) == ("sub-01_ses-2", 1, "1 x n")


def test_raters_on_one_computer_have_drafts_of_their_own(person: Any, tmp_path: Path) -> None:
    bar, first = person.locator("[data-rating-bar]"), person.locator("[data-rating-form]").first
    first.get_by_label("2 poor").check()  # before anybody said who rates: of the first name
    for rater, rated in (("Ann", True), ("Ben", False)):
        bar.get_by_label("Rated by").fill(rater)
        bar.get_by_label("Rated by").blur()
        assert first.get_by_label("2 poor").is_checked() is rated
    first.get_by_label("4 excellent").check()
    with person.expect_download() as waiting:
        bar.get_by_text("Export all ratings (2)").click()
    waiting.value.save_as(tmp_path / "both.tsv")
    table = read_ratings(tmp_path / "both.tsv").set_index("rater")
    assert table["rating"].to_dict() == {"Ann": 2, "Ben": 4}


def test_without_the_switch_keys_rate_nothing(person: Any) -> None:
    for key in "13m":
        person.keyboard.press(key)
    assert "Export all ratings (0)" in person.locator("[data-rating-bar]").inner_text()


def test_the_bar_of_ratings_has_no_barrier(person: Any) -> None:
    _start(person, "Ann")
    person.keyboard.press("2")
    assert violations(person) == []


def test_keys_lead_from_person_to_person_and_drafts_come_along(
    browser: Any, tmp_path: Path
) -> None:
    for subject in ("01", "02"):
        write_person(tmp_path, Person(subject, explain=False))
        write_individual_report(tmp_path, subject, run=RUN)
    write_cohort_page(tmp_path)
    pages = (".html", "#after=sub-01", "_thumbnails.jpg")
    for page in open_page(browser, tmp_path / "sub-01.html", beside=pages):
        _start(page, "Ann")
        for key in "3n":
            page.keyboard.press(key)
        page.wait_for_url("**/sub-02.html")
        bar = page.locator("[data-rating-bar]")
        bar.get_by_text("sub-02: no grade").wait_for()
        page.keyboard.press("1")
        assert "sub-02: 1 exclude" in bar.inner_text()
        assert "Export all ratings (2)" in bar.inner_text()
