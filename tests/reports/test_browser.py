"""The individual report in a real browser, opened as a file and without network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.reports.individual import write_individual_report
from tests.reports.synthetic import MODEL, RUN, Person, write_person

pytestmark = pytest.mark.browser

PATIENCE_MS = 120_000  # a machine under load takes long to start a window
TABLE = f"#regions-sub-01-ses-1-{MODEL}-blocks-24"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_person(tmp_path_factory.mktemp("browser"), Person(sessions=("1", "2")))
    error = {"node": "warp", "message": "failed", "traceback": "Traceback\n  line"}
    return write_individual_report(root, "01", run={**RUN, "errors": [error]})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the Python package playwright is not installed"
    )
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        opened = driver.chromium.launch(executable_path=found, args=options, timeout=PATIENCE_MS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report in a new window; complaints and requests fail the test at its end."""
    window = browser.new_page(viewport={"width": 1280, "height": 900})
    window.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    window.on("console", lambda message: complaints.append(message.text))
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on("request", lambda request: complaints.append(request.url))
    url = report.as_uri()
    window.goto(url)
    yield window
    window.close()
    seen = [text for text in complaints if text != url and not text.startswith("data:image/")]
    assert seen == []


def _column(page: Any, place: int) -> list[str]:
    """What the visible rows are sorted by in one column."""
    cell = "cell => cell.dataset.value ?? cell.innerText"
    return page.eval_on_selector_all(
        f"{TABLE} tbody tr:not([hidden]) > :nth-child({place + 1})", f"cells => cells.map({cell})"
    )


def _place(page: Any, title: str) -> int:
    titles = page.locator(f"{TABLE} thead th").all_inner_texts()
    return next(i for i, text in enumerate(titles) if text.startswith(title))


def test_table_sorts_by_number_with_missing_values_last(page: Any) -> None:
    place = _place(page, "Contribution")
    button = page.locator(f"{TABLE} thead th").nth(place).locator("button")
    for direction in ("descending", "ascending"):
        button.click()
        values = _column(page, place)
        known = [float(value) for value in values if value]
        assert len(known) > 10
        assert known == sorted(known, reverse=direction == "descending")
        assert values[len(known) :] == [""] * (len(values) - len(known))
        header = page.locator(f"{TABLE} thead th").nth(place)
        assert header.get_attribute("aria-sort") == direction
        assert page.locator(f"{TABLE} th[aria-sort]").count() == 1


def test_table_sorts_by_text_and_keyboard(page: Any) -> None:
    page.locator(f"{TABLE} thead th button").first.focus()
    page.keyboard.press("Enter")
    names = _column(page, 0)
    assert names[0] == "Region 1 L"
    assert names[-1].startswith("Region 12")


def test_search_filters_rows_and_counts(page: Any) -> None:
    search = page.locator(f"{TABLE}-search")
    search.fill("region 3 left")
    assert _column(page, 0) == ["Region 3 L"]
    assert page.locator(f"{TABLE}-count").inner_text() == "1 of 24"
    search.fill("no such region")
    assert _column(page, 0) == []
    search.fill("")
    assert len(_column(page, 0)) == 24


def test_flicker_answers_to_mouse_buttons_and_keys(page: Any) -> None:
    flicker = page.locator("[data-flicker]").first
    stage = flicker.locator(".stage")
    after = flicker.locator("img.after")
    state = lambda: flicker.get_attribute("data-state")  # noqa: E731
    stage.scroll_into_view_if_needed()
    assert (state(), after.is_visible()) == ("before", False)
    stage.hover()
    assert (state(), after.is_visible()) == ("after", True)
    page.mouse.move(0, 0)
    assert state() == "before"
    flicker.locator("[data-show=after]").click()
    assert state() == "after"
    assert stage.get_attribute("aria-pressed") == "true"
    stage.focus()
    page.keyboard.press("Space")
    assert state() == "before"
    page.keyboard.press("ArrowRight")
    assert state() == "after"


def test_flicker_alternates_until_stopped(page: Any) -> None:
    flicker = page.locator("[data-flicker]").first
    play = flicker.locator("[data-play]")
    play.click()
    page.locator("[data-flicker][data-state=after]").first.wait_for()
    play.click()
    assert play.get_attribute("aria-pressed") == "false"


def test_theme_changes_colours(page: Any) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    for expected in ("light", "dark"):
        page.locator("[data-theme-switch]").click()
        assert page.locator("html").get_attribute("data-theme") == expected
    assert page.evaluate(colour) != light


def test_tabs_show_one_form_of_the_methods(page: Any) -> None:
    panels = page.locator("[role=tabpanel]:not([hidden])")
    assert panels.count() == 1
    page.locator("#tab-tex").click()
    assert panels.count() == 1
    assert "\\documentclass" in panels.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-bib").get_attribute("aria-selected") == "true"
    assert "@article" in panels.inner_text()


def test_one_scan_can_be_chosen(page: Any) -> None:
    page.select_option("#choose-scan", "sub-01_ses-2")
    assert not page.locator("#prediction [data-scan=sub-01_ses-1]").is_visible()
    assert page.locator("#prediction [data-scan=sub-01_ses-2]").is_visible()


def test_errors_unfold(page: Any) -> None:
    trace = page.locator("#errors pre")
    assert not trace.is_visible()
    page.locator("#errors summary").click()
    assert trace.is_visible()


def test_every_picture_is_decoded(page: Any) -> None:
    sizes = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(sizes) == 14
    assert min(sizes) > 100


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_page_does_not_scroll_sideways(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_readable_without_script(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    window = context.new_page()
    window.goto(report.as_uri())
    assert window.locator("[data-flicker] img.after").first.is_visible()
    assert window.locator("#methods-tex").is_visible()
    assert not window.locator("[data-theme-switch]").is_visible()
    context.close()


def test_print_shows_both_pictures_and_no_controls(page: Any) -> None:
    page.emulate_media(media="print")
    assert page.locator("[data-flicker] img.after").first.is_visible()
    assert not page.locator(".topbar button").first.is_visible()
    assert not page.locator(f"{TABLE}-search").is_visible()
