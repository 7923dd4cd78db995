"""The page of all scans in a real browser: search, sort, look through, rate, export, go on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.bids.ratings import read_ratings
from bidsapp_brainage.reports.cohort.page import write_cohort_page
from tests.reports.browsing import open_page, violations
from tests.reports.synthetic_cohort import write_cohort, write_run

pytestmark = pytest.mark.browser

PICTURES = ("_thumbnails.jpg",)
MANY = 600


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people, and many more whose only scan failed."""
    root = write_cohort(tmp_path_factory.mktemp("cohort"))
    for number in range(100, 100 + MANY):
        scan = f"sub-{number}"
        write_run(root, str(number), "20260101-120000_a", [scan], {scan: ("warp", "no memory")})
    write_cohort_page(root)
    return root


@pytest.fixture
def page(browser: Any, root: Path) -> Iterator[Any]:
    yield from open_page(browser, root / "index.html", beside=(*PICTURES, "sub-01.html"))


def _names(page: Any) -> list[str]:
    return page.eval_on_selector_all(
        "[data-part=list] [data-row]",
        "rows => rows.map(row => (row.querySelector('th, .name')).textContent)",
    )


def _search(page: Any, words: str) -> list[str]:
    page.locator("#cohort-search").fill(words)
    return _names(page)


def test_only_rows_in_view_exist_and_the_last_is_reached(page: Any) -> None:
    assert page.locator("[data-part=count]").inner_text() == f"{MANY + 5} of {MANY + 5}"
    assert 5 < len(_names(page)) < 60
    page.locator("[data-part=list]").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    last = page.locator(f"[data-row] a[href='sub-{99 + MANY}.html'], [data-row] span[data-item]")
    page.wait_for_function(f"document.querySelector('[data-row=\"{MANY + 4}\"]') !== null")
    assert last.last.inner_text() == f"sub-{99 + MANY}"


def test_pictures_are_loaded_from_beside_the_page(page: Any) -> None:
    address = page.locator("[data-row] .strip").first.evaluate(
        "strip => getComputedStyle(strip).backgroundImage.slice(5, -2)"
    )
    assert address.endswith("sub-01/figures/sub-01_thumbnails.jpg")
    size = page.evaluate(
        "address => new Promise((done, fail) => { const image = new Image();"
        " image.onload = () => done([image.naturalWidth, image.naturalHeight]);"
        " image.onerror = fail; image.src = address; })",
        address,
    )
    assert size == [416, 4 * 84]


def test_search_knows_words_and_comparisons(page: Any) -> None:
    assert _search(page, "sub-02") == ["sub-02_ses-1", "sub-02_ses-2"]
    assert _search(page, "age>40") == ["sub-01"]
    assert _search(page, "predicted>60 age<=30") == ["sub-02_ses-1", "sub-02_ses-2"]
    assert _search(page, "failed_step=conform") == ["sub-04"]
    assert _search(page, "site=a") == ["sub-01"]
    assert _search(page, "truncated <b>") == ["sub-04"]
    assert _search(page, "no such scan") == []
    assert page.locator("[data-part=count]").inner_text() == f"0 of {MANY + 5}"


def test_verdicts_are_alternatives_and_failures_narrow_them(page: Any) -> None:
    page.locator("[data-chip=usable]").click()
    usable = _names(page)
    assert "sub-01" in usable
    assert "sub-04" not in usable
    page.locator("[data-chip='do not use']").click()
    page.locator("[data-chip=failed]").click()
    assert _names(page)[:2] == ["sub-04", "sub-100"]
    page.reload()
    assert page.locator("[data-chip=failed]").get_attribute("aria-pressed") == "true"
    assert _names(page)[0] == "sub-04"


def test_sorting_keeps_missing_values_last(page: Any) -> None:
    page.locator("#cohort-search").fill("sub-0")
    for expected in (["sub-02_ses-1", "sub-02_ses-2", "sub-01"], ["sub-01", "sub-02_ses-1"]):
        page.locator("th button.sort", has_text="Age").first.click()
        names = _names(page)
        assert names[: len(expected)] == expected
        assert names[3:] == ["sub-03", "sub-04"]
        assert page.locator("th[aria-sort]").count() == 1


def test_columns_are_chosen_and_exported(page: Any, tmp_path: Path) -> None:
    page.locator("details.choose summary").click()
    page.locator("[data-part=columns] input[value=site]").check()
    page.locator("[data-part=columns] input[value=reason]").check()
    page.locator("[data-part=columns] input[value=predicted_age]").uncheck()
    page.locator("#cohort-search").fill("sub-0")
    with page.expect_download() as waiting:
        page.locator("[data-part=export]", has_text="CSV").click()
    waiting.value.save_as(tmp_path / "scans.csv")
    text = (tmp_path / "scans.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["scan"] for row in rows][-1] == "sub-04"
    assert rows[-1]["reason"].startswith("sub-04_T1w.nii.gz is truncated <b>")
    assert rows[0]["chronological_age"] == "52.5"
    assert rows[1]["site"] == "'=B", "a sheet would compute it"
    assert "predicted_age" not in rows[0]


def test_the_mosaic_shows_the_chosen_picture(page: Any) -> None:
    page.locator("[data-view=mosaic]").click()
    assert page.locator(".cell").count() > 20
    place = "cell => getComputedStyle(cell.querySelector('.strip')).backgroundPosition"
    first = page.locator(".cell").first
    assert first.evaluate(place) == "0px 0px"
    heights = []
    for size in ("50", "100"):
        page.locator("[data-part=size]").fill(size)
        heights.append(first.locator(".strip").bounding_box()["height"])
        page.locator("[data-part=strip]").select_option("3")
        assert first.evaluate(place) == f"0px {-3 * heights[-1]:g}px"
    assert heights[1] > 1.5 * heights[0]
    box, around = first.bounding_box(), page.locator("[data-part=list]").bounding_box()
    assert around["width"] % box["width"] < box["width"] / 10  # columns fill the width


def test_arrow_keys_walk_and_enter_opens_the_person(page: Any) -> None:
    page.locator("[data-part=list]").focus()
    page.keyboard.press("ArrowDown")
    chosen = page.locator("[data-part=chosen]")
    assert "sub-01" in chosen.inner_text()
    page.keyboard.press("End")
    assert f"sub-{99 + MANY}" in chosen.inner_text()
    assert page.locator("[data-row][data-current]").count() == 1
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sub-01.html")


def test_a_walk_with_keys_rates_and_the_export_can_be_read(page: Any, tmp_path: Path) -> None:
    page.locator("[data-part=rater]").fill("A B")
    page.locator("[data-part=keys]").click()
    for keys in ("n3", "n2m", "n1"):
        for key in keys:
            page.keyboard.press(key)
    assert page.locator("[data-chip='not rated']").inner_text() == f"not rated {MANY + 2}"
    row = page.locator("[data-row='1']")
    assert "2 (draft)" in row.inner_text()
    page.locator("[data-chosen] [data-field=notes]").fill("moved")
    with page.expect_download() as waiting:
        page.locator("[data-rating-bar] [data-part=export]").click()
    waiting.value.save_as(tmp_path / "ratings.tsv")
    rated = read_ratings(tmp_path / "ratings.tsv").set_index("scan")
    assert rated["rating"].to_dict() == {"sub-01": 3, "sub-02_ses-1": 2, "sub-02_ses-2": 1}
    assert rated["head_motion"].to_dict()["sub-02_ses-1"]
    assert rated["notes"].to_dict()["sub-02_ses-2"] == "moved"


@pytest.mark.parametrize(
    ("came_from", "expected"),
    [
        ("after=sub-01", "sub-02.html"),
        ("before=sub-02", "sub-01.html"),
        ("after=sub-02", "sub-03.html"),
    ],
)
def test_links_of_a_person_lead_to_those_before_and_after(
    browser: Any, root: Path, came_from: str, expected: str
) -> None:
    beside = (*PICTURES, expected)
    for window in open_page(browser, root / "index.html", beside=beside, hash=f"#{came_from}"):
        window.wait_for_url(f"**/{expected}")
        assert window.title() == expected.removeprefix("sub-").removesuffix(".html")


def test_after_the_last_person_the_page_shows_who_that_was(browser: Any, root: Path) -> None:
    index = root / "index.html"
    for window in open_page(browser, index, beside=PICTURES, hash="#after=sub-04"):
        window.locator("[data-part=chosen] h3").wait_for()
        assert "sub-04" in window.locator("[data-part=chosen] h3").inner_text()


def test_dots_say_who_they_are_and_open_the_person(page: Any) -> None:
    plot = page.locator("canvas[data-metric=cnr]")
    plot.scroll_into_view_if_needed()
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("End")
    told = plot.get_attribute("aria-valuetext")
    assert "of 4" in told
    assert page.locator("body > .tip").inner_text() == told
    data = json.loads(page.locator("#cohort-data").text_content())
    known = {
        s: v for s, v in zip(data["scan"], data["values"]["cnr"], strict=True) if v is not None
    }
    assert known[told.split(":")[0]] == max(known.values())
    assert plot.get_attribute("aria-valuenow") == plot.get_attribute("aria-valuemax") == "4"


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
@pytest.mark.parametrize("view", ["table", "mosaic"])
def test_axe_finds_no_barrier(browser: Any, root: Path, view: str, width: int, scheme: str) -> None:
    for window in open_page(
        browser, root / "index.html", beside=PICTURES, color_scheme=scheme, bypass_csp=True
    ):
        window.set_viewport_size({"width": width, "height": 800})
        window.locator(f"[data-view={view}]").click()
        window.locator("[data-part=list]").focus()
        window.keyboard.press("ArrowDown")
        assert window.evaluate("document.documentElement.scrollWidth") == width
        assert violations(window) == []
