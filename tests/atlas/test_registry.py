"""Atlases by card, by name and by path; and everything that can be wrong with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.atlas.registry import list_atlases, load_atlas
from bidsapp_brainage.atlas.tables import COLUMNS, OPTIONAL_COLUMNS
from bidsapp_brainage.errors import DataError, ResourceError, UsageError
from bidsapp_brainage.explain.hierarchy import LEVELS, atlas_groups
from tests.atlas.boxes import AFFINE, SHAPE, halves, image

TABLE = "index\tname\themi\n1\tLeft Half\tL\n2\tRight Half\tR\n3\tRight Core\tR\n"


@pytest.fixture
def mine(tmp_path: Path, tiny_home: Path) -> Path:
    """A user's own atlas in the space of the template Tiny."""
    path = tmp_path / "mine" / "tpl-Tiny_atlas-Mine_dseg.nii.gz"
    io.save_nifti(image(halves()), path)
    path.with_name("tpl-Tiny_atlas-Mine_dseg.tsv").write_text(TABLE)
    return path


def test_custom_path(mine: Path) -> None:
    atlas = load_atlas(str(mine))
    assert (atlas.name, atlas.label, atlas.template) == ("Mine", "Mine", "Tiny")
    assert (atlas.seg, atlas.scale) == (None, 3)
    assert atlas.dseg == mine
    assert atlas.table["name"].tolist() == ["Left Half", "Right Half", "Right Core"]


def test_gyri_and_compartments_of_an_atlas_become_groups(mine: Path) -> None:
    mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv").write_text(
        "index\tname\tgyrus\tcompartment\n"
        "1\tLeft Half\tOuter\tn/a\n2\tRight Half\tOuter\tshell\n3\tRight Core\tn/a\tshell\n"
    )
    table = load_atlas(str(mine)).table
    assert table.columns.tolist() == [*COLUMNS, *OPTIONAL_COLUMNS]
    groups = {(group.level, group.name): group.indices for group in atlas_groups(table)}
    assert groups[("gyrus", "Outer")] == (1, 2)
    assert groups[("compartment", "shell")] == (2, 3)
    assert groups[("compartment", "grey matter")] == (1,)  # what its name tells
    assert {level for level, _ in groups} == {*LEVELS} - {"network", "lobe"}


@pytest.mark.shared
def test_gyri_of_the_brainnetome_atlas(shared_home: Path) -> None:
    own = shared_home / "tpl-MNI152NLin6Asym"
    table = load_atlas("Brainnetome246", home=shared_home, atlases_dir=own).table
    gyri = {group.name: group for group in atlas_groups(table) if group.level == "gyrus"}
    assert len(gyri) == 24
    assert gyri["SFG, Superior Frontal Gyrus"].indices == tuple(range(1, 15))
    assert sum(len(group.indices) for group in gyri.values()) == 246


def test_custom_atlas_by_name_in_a_folder(mine: Path) -> None:
    assert load_atlas("Mine", atlases_dir=mine.parent).dseg == mine


def test_table_is_inherited(mine: Path) -> None:
    table = mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv")
    finer = mine.with_name("tpl-Tiny_atlas-Mine_scale-3_res-02_dseg.nii.gz")
    mine.rename(finer)
    table.rename(mine.with_name("atlas-Mine_dseg.tsv"))
    mine.with_name("atlas-Other_dseg.tsv").write_text("index\tname\n1\tWrong\n")
    atlas = load_atlas(str(finer))
    assert atlas.scale == 3
    assert len(atlas.table) == 3


def test_template_from_sidecar(mine: Path) -> None:
    plain = mine.with_name("labels.nii.gz")
    mine.rename(plain)
    mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv").rename(plain.with_name("labels.tsv"))
    with pytest.raises(DataError, match="SpatialReference"):
        load_atlas(str(plain))
    plain.with_name("labels.json").write_text('{"SpatialReference": "Tiny"}')
    atlas = load_atlas(str(plain))
    assert (atlas.name, atlas.template) == ("labels", "Tiny")


def test_users_card_for_templateflow(tiny_home: Path, tmp_path: Path) -> None:
    io.write_json(
        tmp_path / "Box.json",
        {
            "schema_version": 1,
            "name": "Box-3",
            "label": "Box",
            "scale": 3,
            "template": "Tiny",
            "source": "templateflow",
            "image": {"resolution": 1, "atlas": "Box", "suffix": "dseg"},
            "table": {"query": {"atlas": "Box", "suffix": "dseg"}, "index_offset": 1},
            "description": {"Name": "Box", "License": "CC0-1.0"},
        },
    )
    atlas = load_atlas("box-3", atlases_dir=tmp_path)
    assert atlas.table["index"].tolist() == [1, 2, 3]
    assert atlas.description["License"] == "CC0-1.0"
    assert "Box-3" in list_atlases(tmp_path)
    (tiny_home / "tpl-Tiny" / "tpl-Tiny_atlas-Box_dseg.tsv").unlink()
    fresh = shutil.copytree(tiny_home, tmp_path / "fresh")
    with pytest.raises(ResourceError, match=r"label table.*TemplateFlow does not offer Tiny"):
        load_atlas("Box-3", atlases_dir=tmp_path, home=fresh)


def test_users_card_for_a_file_of_any_name(mine: Path) -> None:
    table = mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv")
    mine.rename(mine.with_name("halves.nii.gz"))
    table.rename(table.with_name("halves.tsv"))
    card = {"schema_version": 1, "name": "Half-3", "label": "Half", "template": "Tiny"}
    io.write_json(mine.with_name("Half.json"), card | {"files": ["halves.nii.gz"]})
    atlas = load_atlas("Half-3", atlases_dir=mine.parent)
    assert (atlas.name, atlas.template, len(atlas.table)) == ("Half", "Tiny", 3)


def test_harvard_oxford_table_that_starts_at_zero(tmp_path: Path) -> None:
    """TemplateFlow's lateralised table counts from 0, the image from 1."""
    folder = tmp_path / "tpl-MNI152NLin6Asym"
    sides = ("Left", "Right")
    labels = np.zeros(SHAPE, np.uint8)
    for label in range(1, 97):
        first_plane = 0 if label % 2 else 5
        labels[first_plane, (label // 2) % 10, label // 20] = label
    io.save_nifti(
        image(labels), folder / "tpl-MNI152NLin6Asym_res-01_atlas-HOCPAL_desc-th25_dseg.nii.gz"
    )
    rows = "".join(f"{i}\t{sides[i % 2]} Region {i // 2}\n" for i in range(96))
    (folder / "tpl-MNI152NLin6Asym_atlas-HOCPAL_dseg.tsv").write_text("index\tname\n" + rows)
    atlas = load_atlas("HarvardOxford", home=tmp_path)
    assert atlas.table["index"].tolist() == list(range(1, 97))
    assert atlas.table["hemisphere"].tolist()[:2] == ["L", "R"]


def test_unknown_atlas_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"BrainageDemo.*Schaefer2018-100"):
        load_atlas("Nothing", atlases_dir=tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        load_atlas(str(tmp_path / "absent_dseg.nii.gz"))


def test_atlas_that_was_not_fetched(tiny_home: Path) -> None:
    with pytest.raises(ResourceError, match="templateflow get MNI152NLin2009cAsym --atlas Sch"):
        load_atlas("Schaefer2018-200", home=tiny_home)


def test_brainnetome_must_come_from_the_user(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"non-commercial.*`atlases_dir`"):
        load_atlas("Brainnetome246")
    with pytest.raises(ResourceError, match="not in `atlases_dir`"):
        load_atlas("Brainnetome246", atlases_dir=tmp_path)


def test_two_candidates(mine: Path) -> None:
    other = mine.with_name("tpl-Tiny_atlas-Mine_res-02_dseg.nii.gz")
    other.write_bytes(mine.read_bytes())
    with pytest.raises(UsageError, match="pass the path of one"):
        load_atlas("Mine", atlases_dir=mine.parent)


def test_no_table(mine: Path) -> None:
    mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv").unlink()
    with pytest.raises(DataError, match=r"has no label table: write .*dseg.tsv beside it"):
        load_atlas(str(mine))


def test_label_without_row(mine: Path) -> None:
    mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv").write_text("index\tname\n1\tLeft Half\n")
    with pytest.raises(DataError, match=r"2 label\(s\) that its table does not name \(2, 3\)"):
        load_atlas(str(mine))


def test_row_without_label_stays(mine: Path) -> None:
    table = mine.with_name("tpl-Tiny_atlas-Mine_dseg.tsv")
    table.write_text(TABLE + "7\tEmpty\tL\n")
    assert load_atlas(str(mine)).table["index"].tolist() == [1, 2, 3, 7]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(SHAPE, np.uint8), "no label above 0"),
        (halves() + np.float32(0.5), "not whole numbers"),
        (np.full(SHAPE, np.nan, np.float32), "not whole numbers"),
        (-halves().astype(np.int16), "below 0"),
        (np.stack([halves()] * 2, axis=-1), "4 dimensions"),
    ],
    ids=["empty", "fractions", "nan", "negative", "4D"],
)
def test_not_a_label_image(mine: Path, data: np.ndarray, message: str) -> None:
    io.save_nifti(image(data), mine)
    with pytest.raises(DataError, match=message):
        load_atlas(str(mine))


def test_singleton_fourth_dimension_and_floats_are_fine(mine: Path) -> None:
    io.save_nifti(image(halves()[..., None].astype(np.float32)), mine)
    assert len(load_atlas(str(mine)).table) == 3


def test_exchanged_sides(mine: Path) -> None:
    mirrored = AFFINE.copy()
    mirrored[0] *= -1
    io.save_nifti(image(halves(), mirrored), mine)
    with pytest.raises(DataError, match="left and right exchanged"):
        load_atlas(str(mine))


def test_other_space(mine: Path) -> None:
    moved = AFFINE.copy()
    moved[2, 3] += 60
    io.save_nifti(image(halves(), moved), mine)
    with pytest.raises(DataError, match=r"labelled voxels lie in the brain of Tiny"):
        load_atlas(str(mine))


def test_other_grid_in_the_right_space_is_fine(mine: Path) -> None:
    fine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] -= 2
    io.save_nifti(image(halves().repeat(2, 0).repeat(2, 1).repeat(2, 2), fine), mine)
    assert load_atlas(str(mine)).template == "Tiny"


def test_bad_card(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"broken.json is not JSON"):
        load_atlas("Nothing", atlases_dir=tmp_path)


def test_embedded_atlas(merged_home: Path) -> None:
    atlas = load_atlas("BrainageDemo", home=merged_home)
    assert (atlas.name, atlas.template, len(atlas.table)) == (
        "BrainageDemo",
        "MNI152NLin2009aSym",
        120,
    )
    assert "approximation" in atlas.description["Name"]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("spec", "n_regions", "with_side", "with_network"),
    [
        ("Schaefer2018-100", 100, 100, 100),
        ("Schaefer2018-200", 200, 200, 200),
        ("Schaefer2018-400", 400, 400, 400),
        ("HOCPA", 48, 0, 0),
        ("HOSPA", 21, 20, 0),
        ("CerebrA", 102, 102, 0),
        ("Brainnetome246", 246, 246, 210),
    ],
)
def test_real_atlases(
    shared_home: Path, spec: str, n_regions: int, with_side: int, with_network: int
) -> None:
    own = shared_home / "tpl-MNI152NLin6Asym"
    atlas = load_atlas(spec, home=shared_home, atlases_dir=own)
    assert len(atlas.table) == n_regions == atlas.scale
    assert atlas.table["name"].is_unique
    assert atlas.table["hemisphere"].notna().sum() == with_side
    assert atlas.table["network"].notna().sum() == with_network
    if spec == "HOSPA":
        assert atlas.table.set_index("index")["name"][4] == "Left Thalamus"
