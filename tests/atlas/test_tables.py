"""Label tables in all the forms that authors of atlases chose."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.atlas.tables import COLUMNS, read_label_table
from bidsapp_brainage.errors import DataError


def write(folder: Path, text: str) -> Path:
    path = folder / "atlas_dseg.tsv"
    path.write_text(text)
    return path


def test_smallest_table(tmp_path: Path) -> None:
    table = read_label_table(write(tmp_path, "index\tname\n2\tB\n1\tA\n"))
    assert list(table.columns) == list(COLUMNS)
    assert table["index"].tolist() == [1, 2]
    assert table["abbreviation"].tolist() == ["A", "B"]
    assert table["network"].tolist() == [None, None]
    assert table["color"].str.fullmatch("#[0-9a-f]{6}").all()


def test_schaefer_names_are_parsed(tmp_path: Path) -> None:
    rules = {
        "name_pattern": "^7Networks_(?P<hemisphere>LH|RH)_(?P<network>[A-Za-z]+)_(?P<rest>.+)$",
        "networks": {"Cont": "Frontoparietal", "Vis": "Visual"},
    }
    path = write(
        tmp_path,
        "index\tname\tcolor\n1\t7Networks_LH_Cont_PFCl_1\t#781283\n2\t7Networks_RH_Vis_2\tred\n",
    )
    table = read_label_table(path, rules)
    assert table["hemisphere"].tolist() == ["L", "R"]
    assert table["network"].tolist() == ["Frontoparietal", "Visual"]
    assert table["abbreviation"].tolist() == ["LH_Cont_PFCl_1", "RH_Vis_2"]
    assert table["color"][0] == "#781283"
    assert table["color"][1].startswith("#")


def test_offset_correction_and_background(tmp_path: Path) -> None:
    path = write(tmp_path, "index\tname\n0\tLeft Frontal Pole\n1\tRight Frontal Pole \n")
    table = read_label_table(path, {"index_offset": 1, "lobes": {"Frontal Pole": "Frontal"}})
    assert table["index"].tolist() == [1, 2]
    assert table["hemisphere"].tolist() == ["L", "R"]
    assert table["lobe"].tolist() == ["Frontal", "Frontal"]
    corrected = read_label_table(path, {"names": {"1": "Right Thalamus"}})
    assert corrected["name"].tolist() == ["Right Thalamus"]  # index 0 is background


def test_same_name_on_both_sides_becomes_two_names(tmp_path: Path) -> None:
    path = write(tmp_path, "label\tname\themi\n4\tInsula\tR\n9\tInsula\tL\n5\tFornix\tn/a\n")
    table = read_label_table(path)
    assert table["name"].tolist() == ["Right Insula", "Fornix", "Left Insula"]
    assert table["hemisphere"].tolist() == ["R", None, "L"]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("Left Thalamus", "L"),
        ("SFG_R_7_1", "R"),
        ("lh_bankssts", "L"),
        ("Insula-R", "R"),
        ("ctx.rh.insula", "R"),
        ("Lingual Gyrus", None),
        ("Rolandic operculum", None),
        ("Brainstem", None),
    ],
)
def test_side_from_name(tmp_path: Path, name: str, side: str | None) -> None:
    assert read_label_table(write(tmp_path, f"index\tname\n1\t{name}\n"))["hemisphere"][0] == side


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tregion\n1\tA\n", "no column name"),
        ("index\tname\n1\tA\n1\tB\n", "index 1 twice"),
        ("index\tname\n1.5\tA\n", "line 2"),
        ("index\tname\n-3\tA\n", "line 2"),
        ("index\tname\n1\tA\nx\tB\n", "line 3"),
        ("index\tname\n1\tn/a\n", "line 2: the region has no name"),
    ],
)
def test_unusable_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_label_table(write(tmp_path, text))


_NAMES = st.text("ABCdefLR_ ", min_size=1, max_size=12).filter(lambda name: name.strip())


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(1, 9999), _NAMES, min_size=1, max_size=20))
def test_no_region_is_lost(tmp_path_factory: pytest.TempPathFactory, regions: dict) -> None:
    text = "index\tname\n" + "".join(f"{i}\t{name}\n" for i, name in regions.items())
    table = read_label_table(write(tmp_path_factory.mktemp("t"), text))
    assert table["index"].tolist() == sorted(regions)
    for index, name in zip(table["index"], table["name"], strict=True):
        assert name.endswith(regions[index].strip())
    assert table[["name", "abbreviation", "color"]].notna().all(axis=None)
