"""The individual report in a real browser, opened as a file and without network."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.bids.ratings import read_ratings
from bidsapp_brainage.catalogue.ratings import ARTEFACTS
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.outputs import write_mean_map, write_tables
from bidsapp_brainage.io import read_tsv, save_nifti
from bidsapp_brainage.reports.cohort.page import write_cohort_page
from bidsapp_brainage.reports.figures import colours, drawing
from bidsapp_brainage.reports.group.page import write_group_report
from bidsapp_brainage.reports.individual.page import write_individual_report
from tests.group.derivatives import AFFINE, TEMPLATE, atlas_labels, write_derivatives
from tests.reports.browsing import PATIENCE_MS
from tests.reports.browsing import open_page as _open
from tests.reports.browsing import violations as _violations
from tests.reports.synthetic import MODEL, RUN, Person, write_person
from tests.reports.synthetic_group import write_group_results

pytestmark = pytest.mark.browser

TABLE = f"#regions-sub-01-ses-1-{MODEL}-blocks-24"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_person(
        tmp_path_factory.mktemp("browser"), Person(sessions=("1", "2"), years=3, change=4)
    )
    error = {"node": "warp", "message": "failed", "traceback": "Traceback\n  line"}
    return write_individual_report(root, "01", run={**RUN, "errors": [error]})


@pytest.fixture(scope="module")
def single_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Page of a synthetic person with one scan, which has no heading of its own."""
    root = write_person(tmp_path_factory.mktemp("single"), Person())
    (root / "dataset_description.json").write_text('{"Keywords": ["synthetic"]}')
    return write_individual_report(root, "01", run=RUN)


@pytest.fixture(scope="module")
def group_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Page of a group whose first participant has a page."""
    root = write_derivatives(tmp_path_factory.mktemp("group"), n_participants=8, flagged=(2,))
    atlas = {"atlas": "Blocks", "scale": "12"}
    path = derivative_path(root, atlas, suffix="dseg", extension=".nii.gz", tpl=TEMPLATE, res="2")
    save_nifti(nib.Nifti1Image(atlas_labels(12), AFFINE), path)
    for number in range(1, 9):
        (root / f"sub-{number:02d}.html").write_text("<!DOCTYPE html><title>a person</title>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyses, "N_BOOT", 99)
        patch.setattr(analyses, "N_PERMUTATIONS", 49)
        patch.setattr(drawing, "DPI", 72)
        (model,) = collect(root).models
        write_mean_map(root, model.label, model.atlases[0])
        write_tables(root, analyses.summarise(model, read_tsv(root / "participants.tsv"), seed=1))
        write_group_results(root, label="sfcn2mm", atlas=atlas)
        page = write_group_report(root, model.label)
        write_cohort_page(root)
        return page


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    yield from _open(browser, report)


@pytest.fixture
def group_page(browser: Any, group_report: Path) -> Iterator[Any]:
    yield from _open(browser, group_report)


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
    _viewer(page)  # opens when it comes into view, which moves the table
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


def test_methods_of_a_group_can_be_copied_in_four_forms(group_page: Any) -> None:
    group_page.locator("#tab-bib").click()
    shown = group_page.locator("[role=tabpanel]:not([hidden])")
    assert shown.count() == 1
    assert "@article{nosa" in shown.inner_text()
    shown.locator("[data-copies]").click()
    group_page.wait_for_function(
        "document.querySelector('[role=tabpanel]:not([hidden]) "
        "[data-copies]').textContent !== 'Copy'"
    )
    assert shown.locator("[data-copies]").inner_text() in {"Copied", "Selected: press Ctrl+C"}


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
    assert len(sizes) == 18
    assert min(sizes) > 100


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_page_does_not_scroll_sideways(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


BEYOND = """words => [...document.querySelectorAll(".scroll")].flatMap(box =>
  [...box.querySelectorAll("thead th")]
    .filter(head => words.test(head.innerText.trim()))
    .filter(head => head.getBoundingClientRect().right > box.getBoundingClientRect().right + 1)
    .map(head => `${box.querySelector("table").id}: ${head.innerText}`))"""


@pytest.mark.parametrize(("kind", "column"), [("report", "Sign"), ("group_report", "q")])
def test_columns_that_matter_are_seen_at_1280_pixels(
    browser: Any, request: pytest.FixtureRequest, kind: str, column: str
) -> None:
    for window in _open(browser, request.getfixturevalue(kind)):
        heads = "heads => heads.map(head => head.innerText.trim())"
        assert column in window.eval_on_selector_all("thead th", heads)
        words = "/^(verdict|sign|q|z|p|gap|flag)\\b/i"
        assert window.evaluate(f"({BEYOND})({words})") == []


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
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("[data-rating-form]").first.is_visible()
    assert page.locator("[data-flicker] img.after").first.is_visible()
    assert not page.locator(".topbar button").first.is_visible()
    assert not page.locator(f"{TABLE}-search").is_visible()


def test_on_paper_names_stand_above_their_pictures(page: Any) -> None:
    page.emulate_media(media="print")
    stage = page.locator("[data-flicker] .stage").first
    order = ("span.tag.before", "img.before", "span.tag.after", "img.after")
    boxes = [stage.locator(part).bounding_box() for part in order]
    assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    ends = [box["y"] + box["height"] for box in boxes]
    assert all(end <= box["y"] + 1 for end, box in zip(ends, boxes[1:], strict=False))


def test_on_paper_methods_stand_once(page: Any) -> None:
    page.locator("#tab-tex").click()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    panels = [panel for panel in page.locator("[role=tabpanel]").all() if panel.is_visible()]
    assert [panel.get_attribute("id") for panel in panels] == ["methods-html"]
    assert page.locator("#errors pre").is_visible()  # folds are open
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator("#methods-tex").is_visible()
    assert not page.locator("#methods-html").is_visible()


VIEWER = f"#brain-sub-01-ses-1-{MODEL}-blocks-24"


def _viewer(page: Any, selector: str = VIEWER) -> Any:
    found = page.locator(selector)
    found.scroll_into_view_if_needed()
    page.locator(f"{selector}[data-ready]").wait_for()
    return found


def _picture(viewer: Any, part: str) -> str:
    return viewer.locator(f"[data-part={part}]").evaluate("canvas => canvas.toDataURL()")


IMAGE = "#image-sub-01-ses-1"


def _canvas(viewer: Any, plane: str) -> Any:
    return viewer.locator(f"[data-part={plane}]")


def _voxel(viewer: Any) -> tuple[int, ...]:
    """Indices in the file of the voxel that the page tells of."""
    words = viewer.locator("[data-part=position]").inner_text()
    return tuple(int(number) for number in words.split("voxel ")[1].split(", "))


def _intensity(viewer: Any) -> float:
    words = viewer.locator("[data-part=details]").inner_text()
    found = re.search("intensity (?:\u2265 )?(-?[0-9.]+)", words.replace("\N{MINUS SIGN}", "-"))
    assert found, words
    return float(found[1])


def _pixels(viewer: Any, part: str) -> np.ndarray:
    """Red, green and blue of a canvas, shape (height, width, 3)."""
    code = base64.b64decode(_picture(viewer, part).split(",")[1])
    return np.asarray(Image.open(io.BytesIO(code)).convert("RGB")).astype(float)


def test_the_voxel_under_the_cursor_has_the_value_of_the_file(page: Any, report: Path) -> None:
    """In every plane, by pointing, for the image, the mask and the segmentation."""
    anat = report.parent / "sub-01" / "ses-1" / "anat"
    files = {
        name: nib.load(anat / f"sub-01_ses-1_{name}.nii.gz").get_fdata()
        for name in ("desc-preproc_T1w", "desc-brain_mask", "dseg")
    }
    names = read_tsv(anat / "sub-01_ses-1_dseg.tsv").set_index("index")["name"]
    viewer = _viewer(page, IMAGE)
    viewer.locator("[data-part=overlay]").select_option("segmentation")
    step = np.ptp(files["desc-preproc_T1w"]) / 254
    values, seen = set(), set()
    for plane in ("sagittal", "coronal", "axial"):
        box = _canvas(viewer, plane).bounding_box()
        for share in ((0.5, 0.5), (0.3, 0.4), (0.62, 0.37), (0.45, 0.7)):
            page.mouse.move(box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"])
            voxel = _voxel(viewer)
            seen.add(voxel)
            values.add(files["desc-preproc_T1w"][voxel])
            assert _intensity(viewer) == pytest.approx(
                files["desc-preproc_T1w"][voxel], abs=step / 2 + 0.1
            )
            inside = "inside" if files["desc-brain_mask"][voxel] else "outside"
            assert f"{inside} the mask" in viewer.locator("[data-part=details]").inner_text()
            label = int(files["dseg"][voxel])
            expected = names[label] if label else "no region"
            assert viewer.locator("[data-part=where]").inner_text() == expected
    assert len(seen) > 9
    assert len(values) > 1  # not all from one flat part


def test_a_contribution_under_the_cursor_is_that_of_the_table(page: Any, report: Path) -> None:
    anat = report.parent / "sub-01" / "ses-1" / "anat"
    labels = nib.load(next(anat.glob("*space-T1w_atlas*_dseg.nii.gz"))).get_fdata()
    rows = read_tsv(next(anat.glob("*_occlusion.tsv"))).set_index("index")
    viewer = _viewer(page)
    box = _canvas(viewer, "axial").bounding_box()
    told = 0
    for share in (0.3, 0.4, 0.5, 0.6, 0.7):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.45 * box["height"])
        label = int(labels[_voxel(viewer)])
        where = viewer.locator("[data-part=where]").inner_text()
        if not label:
            assert where == "no region"
            continue
        assert where.startswith(rows["name"][label])
        number = re.search(r": ([+\N{MINUS SIGN}]?[0-9.]+) years", where)
        if number:
            value = float(number[1].replace("\N{MINUS SIGN}", "-"))
            assert value == pytest.approx(float(rows["delta_age"][label]), abs=0.006)
            told += 1
    assert told > 2


def test_the_switch_mirrors_pictures_letters_and_pointing(page: Any) -> None:
    viewer = _viewer(page, IMAGE)
    switch = viewer.locator("[data-part=sides]")
    canvas = _canvas(viewer, "axial")
    box = canvas.bounding_box()
    place = (box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.move(*place)
    left = _voxel(viewer)
    before, sides = _redness(viewer), canvas.get_attribute("data-sides")
    sagittal = _canvas(viewer, "sagittal").get_attribute("data-sides")
    switch.click()
    page.evaluate("new Promise(requestAnimationFrame)")
    after = _redness(viewer)
    assert (sides, canvas.get_attribute("data-sides")) == ("LR", "RL")
    assert _canvas(viewer, "coronal").get_attribute("data-sides") == "RL"
    assert _canvas(viewer, "sagittal").get_attribute("data-sides") == sagittal == "PA"
    assert after == pytest.approx(before[::-1], rel=0.02)
    assert before[0] != pytest.approx(before[1], rel=0.02)
    page.mouse.move(*place)
    width = 2 * _width(viewer)
    right = _voxel(viewer)
    assert right[1:] == left[1:]
    assert right[0] + left[0] == pytest.approx(width / 2, abs=1)
    other = _viewer(page)  # the whole page changes sides
    assert other.locator("[data-part=sides]").get_attribute("aria-pressed") == "true"
    assert _canvas(other, "axial").get_attribute("data-sides") == "RL"


def _redness(viewer: Any) -> list[float]:
    """How much more red than blue the two halves of the axial slice are."""
    pixels = _pixels(viewer, "axial")
    more = pixels[..., 0] - pixels[..., 2]
    half = more.shape[1] // 2
    return [more[:, :half].sum(), more[:, -half:].sum()]


def _width(viewer: Any) -> int:
    """First plus last index along the first axis of what the page holds."""
    facts = json.loads(viewer.get_attribute("data-facts"))
    return int(2 * facts["first"][0] + facts["shape"][0] - 1)


def test_keys_move_the_cross_and_the_slice(page: Any) -> None:
    viewer = _viewer(page, IMAGE)
    _canvas(viewer, "axial").focus()
    steps = {
        "ArrowRight": (1, 0, 0), "ArrowLeft": (-1, 0, 0), "ArrowUp": (0, 1, 0),
        "ArrowDown": (0, -1, 0), "PageUp": (0, 0, 1), "PageDown": (0, 0, -1),
    }  # fmt: skip
    page.mouse.move(0, 0)
    for key, step in steps.items():
        before = _voxel(viewer)
        page.keyboard.press(key)
        assert tuple(np.subtract(_voxel(viewer), before)) == step, key
    before = _voxel(viewer)
    page.keyboard.press("s")  # right of the brain is on the left now
    page.keyboard.press("ArrowRight")
    assert tuple(np.subtract(_voxel(viewer), before)) == (-1, 0, 0)
    page.evaluate("new Promise(requestAnimationFrame)")
    picture = _picture(viewer, "axial")
    for key in ("e", "+"):
        page.keyboard.press(key)
        page.evaluate("new Promise(requestAnimationFrame)")
        assert _picture(viewer, "axial") != picture
        picture = _picture(viewer, "axial")
    assert not viewer.locator("[data-part=outlined]").is_checked()
    assert viewer.locator("[data-part=zoom]").inner_text().startswith("1.5")
    page.keyboard.press("Shift+PageUp")
    assert _voxel(viewer)[2] > before[2] + 3


def test_keys_that_rate_a_scan_do_nothing_in_a_slice(page: Any) -> None:
    viewer = _viewer(page, IMAGE)
    _canvas(viewer, "coronal").focus()
    page.evaluate("new Promise(requestAnimationFrame)")
    before = _picture(viewer, "coronal")
    for letter in (*(item.letter for item in ARTEFACTS), *"nptx1234"):
        page.keyboard.press(letter)
    page.evaluate("new Promise(requestAnimationFrame)")
    assert _picture(viewer, "coronal") == before


def test_pointing_is_right_when_magnified(page: Any) -> None:
    viewer = _viewer(page, IMAGE)
    canvas = _canvas(viewer, "axial")
    for _ in range(3):
        viewer.locator("[data-part=closer]").click()
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.6 * box["width"], "y": 0.4 * box["height"]})
    page.evaluate("new Promise(requestAnimationFrame)")
    clicked = _voxel(viewer)
    inner = _pixels(viewer, "axial")[30:-30, 20:-60, 0]
    white = (20 + inner.sum(axis=0).argmax()) / _pixels(viewer, "axial").shape[1]
    facts = json.loads(viewer.get_attribute("data-facts"))
    assert white == pytest.approx(0.6, abs=1.5 * 3 / facts["shape"][0])  # the cross is there
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    assert _voxel(viewer) == clicked


def test_touch_moves_the_cross(browser: Any, report: Path) -> None:
    for window in _open(browser, report, has_touch=True):
        viewer = _viewer(window, IMAGE)
        box = _canvas(viewer, "coronal").bounding_box()
        before = _voxel(viewer)
        window.touchscreen.tap(box["x"] + 0.35 * box["width"], box["y"] + 0.4 * box["height"])
        assert _voxel(viewer) != before


def test_colours_of_the_page_are_those_of_the_figures(page: Any) -> None:
    """Of single values, of the legend and of the canvas."""
    _viewer(page)
    shares = np.append(np.linspace(-1, 1, 401), [1e-9, -1e-9])
    for signed in (True, False):
        values = shares if signed else np.abs(shares)
        found = page.evaluate(
            """([shares, code, grey]) => {
              const table = brainPainting.unpackTable(code);
              return shares.map((share) => {
                const pixels = new Uint8ClampedArray(4);
                brainPainting.paint(pixels, 0, grey, share, table);
                return Array.from(pixels.slice(0, 3));
              });
            }""",
            [values.tolist(), colours.packed(signed=signed), 120],
        )
        wanted = colours.paint(np.full((1, len(values)), 120.0), values[None], signed=signed)[0]
        # A value between two colours of the table may get either.
        between = np.abs(np.modf((values + 1) * 127)[0] - 0.5) < 1e-6
        assert np.abs(np.array(found) - wanted)[~between].max() <= 1
    legend = page.locator(f"{VIEWER} [data-part=ramp]").evaluate(
        "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data)"
    )
    codes = colours.legend(255)
    wanted = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in codes])
    assert np.abs(np.reshape(legend, (-1, 4))[:, :3] - wanted).max() <= 1


def test_a_region_has_the_colour_of_its_value(page: Any) -> None:
    """The strongest region, which is at the end of the bar, over the grey of its voxels."""
    viewer = _viewer(page)
    viewer.locator("[data-part=measure]").select_option(index=0)
    where = viewer.locator("[data-part=where]").inner_text()
    end = viewer.locator("[data-part=high]").inner_text().removesuffix(" years").lstrip("+")
    value = re.search(r": ([+\N{MINUS SIGN}])([0-9.]+) years", where)
    assert value
    assert value[2] == end
    page.mouse.move(0, 0)
    page.evaluate("new Promise(requestAnimationFrame)")
    pixels = _pixels(viewer, "axial")
    strongest = colours.table()[-1 if value[1] == "+" else 0].astype(float)
    opacity = strongest[3] / 255
    under = pixels - opacity * strongest[:3]  # what is left is grey: the anatomy
    grey = under.mean(axis=-1)
    same = (np.abs(under - grey[..., None]).max(axis=-1) <= 1.5) & (grey >= -1)
    assert (same & (grey <= 256 * (1 - opacity))).sum() > 300


def test_threshold_hides_regions_in_slices_and_glass_brain(page: Any) -> None:
    viewer = _viewer(page)
    before = [_picture(viewer, part) for part in ("axial", "glass-axial")]
    shown = viewer.locator("[data-part=shown]")
    assert shown.inner_text().startswith("20 of 20 regions")
    slider = viewer.locator("[data-part=threshold]")
    slider.focus()
    page.keyboard.press("End")
    assert shown.inner_text().startswith("1 of 20 regions, at least")
    assert slider.get_attribute("aria-valuetext") == shown.inner_text()
    page.evaluate("new Promise(requestAnimationFrame)")
    after = [_picture(viewer, part) for part in ("axial", "glass-axial")]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_slices_move_by_slider_click_and_list(page: Any) -> None:
    viewer = _viewer(page)
    place = viewer.locator("[data-part=position]")
    where = viewer.locator("[data-part=where]")
    assert where.inner_text().startswith("Region ")
    first = place.inner_text()
    viewer.locator("[data-part=axial-at]").focus()
    page.keyboard.press("ArrowRight")
    assert place.inner_text() != first
    second = place.inner_text()
    viewer.locator("[data-part=coronal]").click(position={"x": 60, "y": 60})
    assert place.inner_text() != second
    viewer.locator("[data-part=region]").select_option(label="Region 3 R")
    assert where.inner_text().startswith("Region 3 R: ")


def test_a_row_of_the_table_shows_its_region(page: Any) -> None:
    viewer = _viewer(page)
    page.locator(f"{TABLE}-search").fill("region 5 left")
    page.locator(f"{TABLE} tbody tr:not([hidden])").first.click()
    assert viewer.locator("[data-part=where]").inner_text().startswith("Region 5 L: ")


def test_other_explanations_can_be_shown_on_the_brain(page: Any) -> None:
    viewer = _viewer(page)
    choice = viewer.locator("[data-part=measure]")
    titles = choice.locator("option").all_inner_texts()
    assert {"contribution (background)", "Occlusion (template)", "Learned noise"} <= set(titles)
    choice.select_option(label="Learned noise")
    assert viewer.get_attribute("data-scale") == "plain"
    assert viewer.locator("[data-part=low]").inner_text().startswith("0")


def test_regions_without_a_stable_sign_are_striped_and_say_why(page: Any) -> None:
    viewer = _viewer(page)
    assert viewer.get_by_text("Striped: the sign depends").is_visible()
    where = viewer.locator("[data-part=where]")
    choice = viewer.locator("[data-part=region]")
    choice.select_option(label="Region 2 L")
    assert where.inner_text().endswith("(the sign depends on what replaces the region)")
    choice.select_option(label="Region 1 L")
    assert "sign" not in where.inner_text()


def test_a_rating_becomes_a_row_of_the_exported_table(page: Any, tmp_path: Path) -> None:
    form, bar = page.locator("[data-rating-form]").first, page.locator("[data-rating-bar]")
    bar.locator("[data-part=export]").click()
    assert "nothing to export" in bar.inner_text()
    form.get_by_label("3 acceptable").check()
    form.get_by_label("head motion").check()
    form.get_by_label("Brain mask").select_option("usable")
    form.get_by_label("Notes").fill('said "so" <b>\t')
    bar.locator("[data-part=export]").click()
    assert "who rates" in bar.inner_text()
    bar.get_by_label("Rated by").fill(" A B ")
    with page.expect_download() as waiting:
        bar.get_by_role("button", name="Export all ratings (1)").click()
    assert waiting.value.suggested_filename == "ratings_AB.tsv"
    waiting.value.save_as(tmp_path / "ratings.tsv")
    (row,) = read_ratings(tmp_path / "ratings.tsv").to_dict("records")
    assert (row["scan"], row["participant_id"], row["session_id"]) == (
        "sub-01_ses-1",
        "sub-01",
        "ses-1",
    )
    assert (row["rater"], row["rating"], row["mask"]) == ("A B", 3, "usable")
    assert row["head_motion"] is True
    assert row["noise"] is False
    assert row["notes"] == 'said "so" <b>'
    assert row["rated_at"].endswith("Z")


def test_points_of_the_group_tell_who_they_are_and_open_the_report(group_page: Any) -> None:
    tip = group_page.locator(".tip")
    points = group_page.locator("svg .point")
    assert points.count() == 16
    assert not tip.is_visible()
    points.nth(3).hover()
    name = points.nth(3).get_attribute("data-key")
    assert tip.inner_text().startswith(f"{name}: age ")
    assert group_page.locator(".point.on").count() == 2  # in both figures
    group_page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_points_can_be_walked_with_the_arrow_keys(browser: Any, group_report: Path) -> None:
    context = browser.new_context()
    window = context.new_page()
    window.goto(group_report.as_uri())
    assert window.locator("svg .point[tabindex='0']").count() == 2  # one stop per figure
    window.locator("svg .point[tabindex='0']").first.focus()
    first = window.locator(".tip").inner_text()
    window.keyboard.press("ArrowRight")
    second = window.locator(".tip").inner_text()
    assert first != second
    with window.expect_navigation():
        window.keyboard.press("Enter")
    assert window.url.endswith(f"/{second.split(':')[0]}.html")
    context.close()


def test_group_map_and_links_to_files(group_page: Any, group_report: Path) -> None:
    viewer = _viewer(group_page, "#regions-1-brain")
    assert viewer.locator("[data-part=where]").inner_text().startswith("Region ")
    links = group_page.eval_on_selector_all(
        "a:not([href^='#'])", "all => all.map(link => link.getAttribute('href'))"
    )
    assert len(links) > 20
    assert all((group_report.parent / link).is_file() for link in links)


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
@pytest.mark.parametrize("kind", ["report", "single_report", "group_report"])
def test_axe_finds_no_barrier(
    browser: Any, request: pytest.FixtureRequest, kind: str, width: int, scheme: str
) -> None:
    path = request.getfixturevalue(kind)
    for window in _open(browser, path, color_scheme=scheme, bypass_csp=True):
        window.set_viewport_size({"width": width, "height": 800})
        for viewer in window.locator(".viewer").all():
            viewer.scroll_into_view_if_needed()
        window.locator(".viewer[data-ready]").first.wait_for()
        assert window.evaluate("document.documentElement.scrollWidth") == width
        assert _violations(window) == []
