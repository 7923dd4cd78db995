"""Fixtures for all tests: small synthetic BIDS datasets."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tables import tabbed

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.workflows.plan import RunPlan

# One thread each: the machine that runs the tests may have two cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

MakeDataset = Callable[..., Path]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Refuse every connection that leaves the machine; whoever tried is listed."""
    tried: list[str] = []
    connect = socket.socket.connect

    def refuse(*arguments: Any, **_options: Any) -> None:
        tried.append(str(arguments[:2]))
        raise OSError("no network here")

    def only_local(this: socket.socket, address: Any) -> None:
        if this.family == socket.AF_UNIX:
            return connect(this, address)
        return refuse(address)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", only_local)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    return tried


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests come first, else one process would end with them alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Write a dataset: ``make({"01": {"anat": [{"suffix": "T1w"}]}}, participants="...")``.

    Text files are given by their path with ``/`` for the folders; tables with spaces between
    columns, which become tabs.
    """
    from niworkflows.utils.testing import generate_bids_skeleton

    def make(
        people: dict[str, Any],
        *,
        files: dict[str, Any] | None = None,
        name: str = "bids",
    ) -> Path:
        root = tmp_path / name
        # Through JSON, because the generator empties dictionaries that occur twice.
        generate_bids_skeleton(root, json.loads(json.dumps(people)))
        for relative, content in (files or {}).items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(tabbed(text) if path.suffix == ".tsv" else text)
        return root

    return make


@pytest.fixture
def two_people(make_dataset: MakeDataset) -> Path:
    """Two people without sessions, with ages."""
    person = {"anat": [{"suffix": "T1w"}]}
    return make_dataset(
        {"01": person, "02": person},
        files={"participants.tsv": "participant_id age sex\nsub-01 30 F\nsub-02 40 male"},
    )


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    """Resources and choices of a run, for graphs."""
    from tests.workflows.stand_ins import make_plan

    return make_plan(tmp_path)


@pytest.fixture
def scans(tmp_path: Path) -> list[Scan]:
    """Scans of a run, for graphs."""
    from tests.workflows.stand_ins import make_scans

    return make_scans(tmp_path)
