"""Take the pictures of docs/tutorial.md from the output of the demonstration.

    python scripts/tutorial_pictures.py demo-output/bidsapp_brainage

Needs the extra ``test`` and a Chromium (``scripts/ensure_chromium.sh``).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parent.parent / "docs" / "figures" / "tutorial"
WIDTH, HEIGHT = 1280, 800
GROUP = "group_desc-sfcn2mm_brainage.html"


@dataclass(frozen=True)
class Shot:
    """A picture of a page: from the top of an element, no higher than the window."""

    name: str
    page: str
    element: str


SHOTS = (
    Shot("all-scans", "index.html", "#scans"),
    Shot("person-summary", "sub-01.html", "#summary"),
    Shot("person-mask", "sub-01.html", "#anatomical figure"),
    Shot("person-regions", "sub-01.html", "#regions .scroll"),  # the first table
    Shot("group-summary", GROUP, "#summary"),
    Shot("group-prediction", GROUP, "#prediction figure"),
    Shot("group-regions", GROUP, "#regions-1 figure >> nth=1"),
)


def main() -> int:
    """Write one JPEG per picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output_dir", type=Path, help="derivatives of the demonstration")
    output_dir = parser.parse_args().output_dir
    absent = sorted({s.page for s in SHOTS if not (output_dir / s.page).is_file()})
    if absent:
        print(f"{output_dir} has no {', '.join(absent)}: run `make demo` first.", file=sys.stderr)
        return 66
    FOLDER.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(args=["--no-sandbox"], executable_path=_chromium())
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for shot in SHOTS:
            _take(page, output_dir, shot)
        browser.close()
    return 0


def _take(page: Page, output_dir: Path, shot: Shot) -> None:
    page.goto((output_dir / shot.page).absolute().as_uri())
    page.wait_for_timeout(1500)  # the viewer unpacks its volumes
    element = page.locator(shot.element).first
    element.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # what comes into view is drawn
    path = FOLDER / f"{shot.name}.jpg"
    box = element.bounding_box()
    assert box is not None, shot.element
    top = box["y"] + page.evaluate("scrollY")
    clip = {**box, "y": top, "height": min(box["height"], HEIGHT)}
    page.screenshot(path=path, type="jpeg", quality=70, full_page=True, clip=clip)
    print(f"{path} ({path.stat().st_size / 1024:.0f} kB)")


def _chromium() -> str | None:
    """A browser of the system where Playwright has none of its own."""
    import shutil

    return shutil.which("chromium")


if __name__ == "__main__":
    sys.exit(main())
