"""A small table of people of several datasets."""

from __future__ import annotations

import pytest

from .people import write_table


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """120 people of 6 datasets whose cortex thins and whose ventricles grow with age."""
    return write_table(tmp_path_factory.mktemp("table") / "people.tsv")
