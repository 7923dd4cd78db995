"""What is kept of the tables of many scans, and when it is not used."""

from __future__ import annotations

import json
import os

import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.pooled import store
from bidsapp_brainage.bids.pooled.small_tables import read_tables
from bidsapp_brainage.bids.pooled.store import PooledTable, SmallTable


class Derivatives:
    """Tables of people below a folder, and which of them were read."""

    def __init__(self, root):
        self.root = root
        self.read: list[str] = []

    def write(self, person, rows, time=1_000_000_000):
        path = self.root / person / f"{person}_x.tsv"
        io.write_tsv(path, pd.DataFrame(rows))
        os.utime(path, ns=(time, time))
        return path

    def pooled(self):
        """The pooled table of what lies there now."""
        self.read = []
        files = [
            SmallTable(path, path.parent.name, None, None, path.parent.name)
            for path in sorted(self.root.glob("sub-*/*_x.tsv"))
        ]
        return PooledTable(self.root, self.root / ".cache" / "x", files, self._reader)

    def _reader(self, paths):
        self.read += [path.parent.name for path in paths]
        return read_tables(paths)


@pytest.fixture
def people(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PEOPLE_PER_PART", 2)
    found = Derivatives(tmp_path)
    for number in range(1, 6):
        found.write(f"sub-{number:02d}", {"index": [1, 2], "value": [number, number / 8]})
    return found


def expected(people):
    """The same table, read from its files."""
    parts = []
    for path in sorted(people.root.glob("sub-*/*_x.tsv")):
        parts.append(io.read_tsv(path).assign(scan=path.parent.name))
    return pd.concat(parts, ignore_index=True)


def check(people, pooled):
    wanted = expected(people)
    frame = pooled.frame()
    assert list(frame)[:4] == store.IDENTITY
    pd.testing.assert_frame_equal(frame[list(wanted)], wanted, check_dtype=False)
    io.write_tsv(people.root / "one.tsv", frame)
    assert "".join(pooled.lines()) == (people.root / "one.tsv").read_text()


def test_every_file_is_read_once(people):
    check(people, people.pooled())
    assert len(people.read) == 5
    check(people, people.pooled())
    assert people.read == []


def test_only_who_is_new_or_changed_is_read_again(people):
    people.pooled()
    people.write("sub-00", {"index": [7], "value": [0.5]})
    people.write("sub-03", {"index": [1, 2], "value": [9, 9.5]}, time=2_000_000_000)
    people.write("sub-035", {"index": [1], "value": [3.5], "more": ["text"]})
    (people.root / "sub-04" / "sub-04_x.tsv").unlink()
    check(people, people.pooled())
    assert sorted(people.read) == ["sub-00", "sub-03", "sub-035"]
    people.pooled()
    assert people.read == []


def test_a_part_that_has_become_large_is_divided(people):
    people.pooled()
    for number in range(50, 59):
        people.write(f"sub-{number}", {"index": [1], "value": [number]})
    check(people, people.pooled())
    check(people, people.pooled())
    assert len(list((people.root / ".cache/x").glob("*.json"))) > 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda parquet, told: parquet.write_bytes(parquet.read_bytes()[:-7]),
        lambda parquet, told: parquet.write_bytes(parquet.read_bytes().replace(b"sub", b"sob")),
        lambda parquet, told: parquet.unlink(),
        lambda parquet, told: told.write_text("{"),
        lambda parquet, told: told.write_text('{"Files": 3}'),
        lambda parquet, told: told.write_text(told.read_text().replace("pandas", "another pandas")),
    ],
    ids=["truncated", "altered", "gone", "no JSON", "other JSON", "other make"],
)
def test_what_is_broken_is_made_anew(people, damage):
    people.pooled()
    told = people.root / ".cache/x/sub-01.json"
    damage(told.with_name(json.loads(told.read_text())["Parquet"]), told)
    check(people, people.pooled())
    assert people.read == ["sub-01", "sub-02"]
    people.pooled()
    assert people.read == []


def test_a_file_that_cannot_be_read_is_tried_again_and_told_each_time(people):
    bad = people.root / "sub-02/sub-02_x.tsv"
    bad.write_bytes(b"\xff\xfe\x00\x81")
    for _ in range(2):
        pooled = people.pooled()
        assert len(pooled.problems) == 1
        assert str(bad) in pooled.problems[0]
        assert "sub-02" not in set(pooled.frame()["scan"])
    assert people.read == ["sub-02"]
    assert len(list((people.root / ".cache/x").glob("sub-01-*.parquet"))) == 1
    people.write("sub-02", {"index": [1], "value": [2]})
    check(people, people.pooled())


def test_what_keeps_its_size_and_time_is_not_noticed(people):
    people.pooled()
    people.write("sub-01", {"index": [1, 2], "value": [8, 0.125]})
    assert people.pooled().frame()["value"].iloc[0] == 1


def test_columns_compact_text_and_rows_without_a_baseline(people):
    people.write("sub-01", {"index": [1, 1], "baseline": ["mean", "it's"], "value": [1, 2]})
    pooled = people.pooled()
    frame = pooled.frame(["scan", "baseline", "value", "nobody"], compact=True, without="it's")
    assert list(frame) == ["scan", "baseline", "value"]
    assert "it's" not in set(frame["baseline"])
    assert frame["scan"].dtype == "category"
    assert len(frame) == 9


def test_lines_write_what_the_writer_of_tables_writes(people):
    people.write("sub-01", {"index": [1], "value": [-0.0], "sure": [True], "word": ['a "b"']})
    people.write("sub-02", {"index": [1], "value": [1e-7], "sure": [None], "word": [None]})
    people.write("sub-03", {"index": [1], "value": [123456.5], "sure": [False], "word": ["x"]})
    check(people, people.pooled())
    assert "sub-03" not in "".join(people.pooled().lines({"sub-03"}))


def test_two_runs_at_once_leave_a_whole_store(people):
    one, other = people.pooled(), people.pooled()
    people.write("sub-06", {"index": [1], "value": [6]})
    newer = people.pooled()
    assert len(one.frame()) == len(other.frame()) == 10  # what they found is still there
    check(people, newer)
    check(people, people.pooled())
