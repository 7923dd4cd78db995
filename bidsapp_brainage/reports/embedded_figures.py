"""Figures of a page, embedded and made smaller where the page would become too large."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

from bidsapp_brainage.reports.html import svg_uri

_RASTER = re.compile(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)")
_SCALES = (0.8, 0.65, 0.5, 0.4, 0.3, 0.25)  # of the width; smaller pictures show nothing


class EmbeddedFigures:
    """Embeds figure files, made smaller where the page would become too large.

    How much room there is shows only when the page is rendered, so marks stand in for the
    figures until then.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        texts = {path: read_text(path) for path in paths}
        self._texts = {path: text for path, text in texts.items() if "<svg" in text}
        self._marks = {path: _mark(path) for path in self._texts}

    def get(self, path: Path | None) -> str:
        """Mark of a figure; empty if there is none."""
        return "" if path is None else self._marks.get(path, "")

    def insert(self, page: str, room: int) -> str:
        """Put ``data:`` URIs of together at most `room` bytes, as far as possible, for marks."""
        uris = {path: svg_uri(text) for path, text in self._texts.items()}
        for scale in _SCALES:
            if sum(map(len, uris.values())) <= room:
                break
            uris = {path: svg_uri(_shrink(text, scale)) for path, text in self._texts.items()}
        for path, mark in self._marks.items():
            page = page.replace(mark, uris[path])
        return page


def _mark(path: Path) -> str:
    return f"data:figure,{hashlib.sha256(path.as_posix().encode()).hexdigest()}"


def _shrink(svg: str, scale: float) -> str:
    """Make the pictures inside of an SVG smaller; they are shown at the same size."""
    from PIL import Image

    def smaller(match: re.Match[str]) -> str:
        picture = Image.open(io.BytesIO(base64.b64decode(match[1])))
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        store = io.BytesIO()
        picture.resize(size, Image.Resampling.BILINEAR).save(store, "JPEG", quality=75)
        return "data:image/jpeg;base64," + base64.b64encode(store.getvalue()).decode()

    return _RASTER.sub(smaller, svg)


def read_text(path: Path) -> str:
    """Text of a file; empty if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
