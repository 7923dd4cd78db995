"""Many small tables read together are what each of them says."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.pooled.small_tables import read_facts, read_tables

GOOD = "index\tname\tvalue\tsure\n1\tleft\t0.25\ttrue\n2\tright\tn/a\tn/a\n"


def write(folder, texts):
    paths = [folder / f"{number}.tsv" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return paths


def one_by_one(paths):
    """What the reader of single tables gives."""
    return pd.concat([io.read_tsv(path) for path in paths], ignore_index=True)


@pytest.mark.parametrize(
    "odd",
    [
        "name\tindex\nother order\t3\n",
        "index\tname\tvalue\tsure\n1\tno end of line\t0.5\tfalse",
        "index\tname\tvalue\tsure\r\n1\twindows\t0.5\tfalse\r\n",
        '\ufeffindex\tname\tvalue\tsure\n1\t"a\tb\nc"\t0.5\tfalse\n',
        "index\tname\tvalue\tsure\n\n1\tempty line\t0.5\tfalse\n",
        "index\tname\tvalue\tsure\n1\tshort row\n",
        "index\tname\tvalue\tsure\n",
    ],
)
def test_an_unusual_file_among_others_is_read_as_by_itself(tmp_path, odd):
    paths = write(tmp_path, [GOOD, odd, GOOD])
    read = read_tables(paths)
    pd.testing.assert_frame_equal(read.rows, one_by_one(paths), check_dtype=False)
    assert read.file.tolist() == sorted(read.file)
    assert [(read.file == place).sum() for place in (0, 2)] == [2, 2]
    assert not read.problems


@pytest.mark.parametrize(
    "broken", [b"\xff\xfe\x00\x81", "", "index\tname\n1\ta\n2\ttoo\tmany\n", None]
)
def test_a_broken_file_is_named_and_the_others_count(tmp_path, broken):
    paths = write(tmp_path, [GOOD, broken or "", GOOD])
    if broken is None:
        paths[1].unlink()
    read = read_tables(paths)
    assert list(read.problems) == [1]
    assert str(paths[1]) in read.problems[1]
    assert read.file.tolist() == [0, 0, 2, 2]


def test_a_quote_in_one_file_does_not_swallow_the_next(tmp_path):
    lone = 'index\tname\tvalue\tsure\n1\t"open\t0.5\ttrue\n'
    paths = write(tmp_path, [GOOD, lone, GOOD, lone, GOOD])
    assert sorted(read_tables(paths).problems) == [1, 3]


def test_nothing_gives_nothing():
    assert read_tables([]).rows.empty
    assert read_facts([]).rows.empty


def test_facts_of_sidecars(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"Model": {"b": 1, "a": 2}, "Device": "cpu"}))
    (tmp_path / "b.json").write_text("{")
    read = read_facts([tmp_path / name for name in ("a.json", "b.json", "absent.json")])
    assert read.rows["fact"].tolist() == ["Model", "Device"]
    assert read.rows["value"].tolist() == ['{"a": 2, "b": 1}', '"cpu"']
    assert list(read.problems) == [1]
