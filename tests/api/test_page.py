"""The examples of docs/python.md give what they say, with a stand-in for the run."""

from __future__ import annotations

import doctest
import logging
import re
from pathlib import Path

import pytest

from tests.api.stand_in import StandIn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_the_page_gives_what_it_says(
    run: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    (tmp_path / "scans").mkdir()
    for name in ("t1", "scans/a", "scans/b", "scans/bad"):
        (tmp_path / f"{name}.nii.gz").write_text(name)
    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "people.tsv").write_text(text[text.index("file\tage") :].split("```")[0])
    examples = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    page = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, str(PAGE), 0)
    logger = logging.getLogger("bidsapp_brainage")
    before = logger.level
    try:
        result = doctest.DocTestRunner(optionflags=FLAGS).run(page)
    finally:
        logger.setLevel(before)  # an example changes it
    assert result.attempted > 15
    assert not result.failed
