"""Pages in windows of a real browser, opened as files and without network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

PATIENCE_MS = 120_000  # a machine under load takes long to start a window


def open_page(
    browser: Any, path: Path, *, beside: tuple[str, ...] = (), hash: str = "", **options: Any
) -> Iterator[Any]:
    """Give a page in a new window; complaints and requests fail the test at its end.

    Files with the ends `beside` may be loaded from the folder of the page; `hash` follows its
    address.
    """
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, accept_downloads=True, **options
    )
    window = context.new_page()
    window.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    window.on("console", lambda message: complaints.append(message.text))
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on("request", lambda request: complaints.append(request.url))
    url = path.as_uri()
    window.goto(url + hash)
    yield window
    context.close()
    own = ("data:image/", f"blob:{url[:4]}", "blob:null")
    folder = path.parent.as_uri() + "/"
    assert [
        text
        for text in complaints
        if text not in (url, url + hash)
        and not text.startswith(own)
        and not (beside and text.startswith(folder) and text.endswith(beside))
    ] == []


def violations(window: Any) -> list[str]:
    """What axe-core finds, with the first place of each."""
    axe = pytest.importorskip(
        "axe_playwright_python", reason="axe-core (axe-playwright-python) is not installed"
    )
    script = resources.files(axe.__name__).joinpath("axe.min.js").read_text("utf-8")
    window.evaluate(script)
    found = window.evaluate("axe.run()")["violations"]
    return [f"{item['id']}: {item['help']}: {item['nodes'][0]['html'][:200]}" for item in found]
