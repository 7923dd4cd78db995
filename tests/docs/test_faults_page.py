from __future__ import annotations

from pathlib import Path

from scripts.faults import page

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    assert page.PAGE.read_text() == page.text(), "python -m scripts.faults"


def test_the_tests_that_it_names_are_there():
    for _, _, test in page.TESTED:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text() if name else (ROOT / path).is_file()
