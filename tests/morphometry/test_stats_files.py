"""Stats files of FreeSurfer 6, 7, 8 and FastSurfer: what is read, and what is refused."""

from __future__ import annotations

import pytest

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.morphometry.stats_files import read_stats

from .freesurfer import ASEG, DESIKAN, VERSIONS, aparc_text, aseg_text

SEVEN = VERSIONS[1]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.key)
def version(request):
    return request.param


def write(tmp_path, text, name="aseg.stats"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_volumes_and_measures_of_every_version(tmp_path, version):
    found = read_stats(write(tmp_path, aseg_text(version)))
    assert f"{found.program} {found.version}" == version.written
    assert found.hemisphere == ""
    assert len(found.rows) == len(ASEG)
    volumes = found.column("Volume_mm3")
    assert volumes["Left-Thalamus"] == 7940.1, "Left-Thalamus-Proper until version 6"
    assert volumes["5th-Ventricle"] == 0.0
    assert found.measures["BrainSegVolNotVent"] == 1107684.526061
    assert found.measures["eTIV"] == 1464199.032007
    assert found.measures["lhSurfaceHoles"] == 3


def test_cortical_stats_of_every_version(tmp_path, version):
    found = read_stats(write(tmp_path, aparc_text(version, "rh"), "rh.aparc.stats"))
    assert found.hemisphere == "rh"
    assert list(found.rows) == DESIKAN
    assert found.column("ThickAvg")["caudalanteriorcingulate"] == 2.02
    assert found.column("GrayVol")["caudalanteriorcingulate"] == 2410
    assert found.measures["WhiteSurfArea"] == 85245.6


def test_old_versions_are_told_by_the_year_of_their_program(tmp_path):
    old = "# cvs_version $Id: mri_segstats.c,v 1.75.2.9 2013/02/16 00:09:33 greve Exp $"
    text = aseg_text(VERSIONS[0]).replace(VERSIONS[0].volumes, old)
    assert read_stats(write(tmp_path, text)).version == "5"


def test_a_file_that_does_not_tell_its_version_has_none(tmp_path):
    text = aseg_text(SEVEN).replace("# cvs_version 7.3.2\n", "")
    assert read_stats(write(tmp_path, text)).version == ""


LINES = aseg_text(SEVEN).splitlines(keepends=True)
BROKEN = {
    "a row cut in its middle": ("".join(LINES)[:-60], "truncated"),
    "rows that are missing": ("".join(LINES[:-5]), "33 rows, its header says 38"),
    "only the header": ("".join(line for line in LINES if line[0] == "#"), "truncated"),
    "a header cut before the columns": ("".join(LINES[:10]), "ColHeaders"),
    "an empty file": ("", "ColHeaders"),
    "another table": ("participant_id\tage\nsub-01\t30\n", "ColHeaders"),
    "a comma in a number": ("".join(LINES).replace("8436.8", "8436,8"), "'8436,8' is no number"),
    "nan": ("".join(LINES).replace("8436.8", "   nan"), "'nan' is no number"),
    "a structure twice": (
        "".join(LINES).replace("Left-Inf-Lat-Vent     ", "Left-Lateral-Ventricle"), "stands there"),
    "a measure that is cut": (
        "".join(LINES).replace(", 1118981.573888, mm^3", ""), "measure .* is cut"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_refused_by_their_name(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=words) as error:
        read_stats(path)
    assert str(path) in str(error.value)


def test_a_cortical_file_that_ends_within_its_last_number_is_refused(tmp_path):
    path = write(tmp_path, aparc_text(SEVEN, "lh")[:-1], "lh.aparc.stats")
    with pytest.raises(DataError, match="last line is cut"):
        read_stats(path)


def test_missing_files_links_without_target_and_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist. Let recon-all or FastSurfer finish"):
        read_stats(tmp_path / "aseg.stats")
    link = tmp_path / "link.stats"
    link.symlink_to(tmp_path / "annexed")
    with pytest.raises(DataError, match="datalad get"):
        read_stats(link)
    binary = tmp_path / "binary.stats"
    binary.write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_stats(binary)


def test_a_column_of_another_kind_of_file_is_missing(tmp_path):
    found = read_stats(write(tmp_path, aparc_text(SEVEN, "lh")))
    with pytest.raises(DataError, match="no column Volume_mm3"):
        found.column("Volume_mm3")
