"""Stats files as FreeSurfer 6, 7 and 8 and FastSurfer write them, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DESIKAN = [
    "bankssts", "caudalanteriorcingulate", "caudalmiddlefrontal", "cuneus", "entorhinal",
    "fusiform", "inferiorparietal", "inferiortemporal", "isthmuscingulate",
    "lateraloccipital", "lateralorbitofrontal", "lingual", "medialorbitofrontal",
    "middletemporal", "parahippocampal", "paracentral", "parsopercularis", "parsorbitalis",
    "parstriangularis", "pericalcarine", "postcentral", "posteriorcingulate", "precentral",
    "precuneus", "rostralanteriorcingulate", "rostralmiddlefrontal", "superiorfrontal",
    "superiorparietal", "superiortemporal", "supramarginal", "frontalpole", "temporalpole",
    "transversetemporal", "insula",
]  # fmt: skip
DKT = [name for name in DESIKAN if name not in ("bankssts", "frontalpole", "temporalpole")]
DESTRIEUX = ["G&S_frontomargin", "G_front_sup", "S_temporal_sup"]
#: SegId, name, volume (mm3), in the order of the files.
ASEG = (
    (4, "Left-Lateral-Ventricle", 8436.8), (5, "Left-Inf-Lat-Vent", 581.2),
    (7, "Left-Cerebellum-White-Matter", 14490.0), (8, "Left-Cerebellum-Cortex", 51513.0),
    (10, "Left-Thalamus", 7940.1), (11, "Left-Caudate", 3334.9), (12, "Left-Putamen", 4668.1),
    (13, "Left-Pallidum", 1856.7), (14, "3rd-Ventricle", 993.3), (15, "4th-Ventricle", 1732.8),
    (16, "Brain-Stem", 21691.3), (17, "Left-Hippocampus", 4112.9), (18, "Left-Amygdala", 1482.0),
    (24, "CSF", 927.6), (26, "Left-Accumbens-area", 552.2), (28, "Left-VentralDC", 4163.8),
    (31, "Left-choroid-plexus", 490.1), (43, "Right-Lateral-Ventricle", 7924.3),
    (44, "Right-Inf-Lat-Vent", 428.6), (46, "Right-Cerebellum-White-Matter", 13974.8),
    (47, "Right-Cerebellum-Cortex", 51491.1), (49, "Right-Thalamus", 7680.2),
    (50, "Right-Caudate", 3321.2), (51, "Right-Putamen", 4731.1), (52, "Right-Pallidum", 1851.2),
    (53, "Right-Hippocampus", 4269.5), (54, "Right-Amygdala", 1620.7),
    (58, "Right-Accumbens-area", 540.8), (60, "Right-VentralDC", 4193.2),
    (63, "Right-choroid-plexus", 484.5), (72, "5th-Ventricle", 0.0),
    (77, "WM-hypointensities", 1079.1), (85, "Optic-Chiasm", 209.9), (251, "CC_Posterior", 935.9),
    (252, "CC_Mid_Posterior", 534.3), (253, "CC_Central", 524.6), (254, "CC_Mid_Anterior", 531.8),
    (255, "CC_Anterior", 895.9),
)  # fmt: skip
#: Category, short name, long name, value, unit.
MEASURES = (
    ("BrainSeg", "BrainSegVol", "Brain Segmentation Volume", 1118981.573888, "mm^3"),
    ("BrainSegNotVent", "BrainSegVolNotVent", "Brain Segmentation Volume Without Ventricles",
     1107684.526061, "mm^3"),
    ("lhCerebralWhiteMatter", "lhCerebralWhiteMatterVol",
     "Left hemisphere cerebral white matter volume", 210057.141288, "mm^3"),
    ("rhCerebralWhiteMatter", "rhCerebralWhiteMatterVol",
     "Right hemisphere cerebral white matter volume", 210821.002276, "mm^3"),
    ("Mask", "MaskVol", "Mask Volume", 1579089.655852, "mm^3"),
    ("lhSurfaceHoles", "lhSurfaceHoles",
     "Number of defect holes in lh surfaces prior to fixing", 3, "unitless"),
    ("EstimatedTotalIntraCranialVol", "eTIV", "Estimated Total Intracranial Volume",
     1464199.032007, "mm^3"),
)  # fmt: skip


@dataclass(frozen=True)
class Version:
    """How one version of a program writes: its lines about itself, and what it changed."""

    key: str
    volumes: str
    surfaces: str
    written: str
    thalamus: str = "Thalamus"
    fastsurfer: bool = False


VERSIONS = (
    Version(
        "freesurfer6",
        "# cvs_version $Id: mri_segstats.c,v 1.121 2016/05/31 17:27:11 greve Exp $",
        "# cvs_version $Id: mris_anatomical_stats.c,v 1.79 2016/03/14 15:15:34 greve Exp $\n"
        "# mrisurf.c-cvs_version $Id: mrisurf.c,v 1.781.2.6 2016/12/27 16:47:14 zkaufman Exp $",
        "FreeSurfer 6",
        "Thalamus-Proper",
    ),
    Version(
        "freesurfer7", "# cvs_version 7.3.2",
        "# cvs_version 7.3.2\n# mrisurf.c-cvs_version 7.3.2", "FreeSurfer 7.3.2",
    ),
    Version(
        "freesurfer8", "# cvs_version 8.0.0",
        "# cvs_version 8.0.0\n# mrisurf.c-cvs_version 8.0.0", "FreeSurfer 8.0.0",
    ),
    Version(
        "fastsurfer", "# FastSurfer_version 2.4.2",
        "# cvs_version 7.4.1\n# mrisurf.c-cvs_version 7.4.1", "FastSurfer 2.4.2", fastsurfer=True,
    ),
)  # fmt: skip


def aseg_text(version: Version, changes: Mapping[str, float] | None = None) -> str:
    """``aseg.stats`` of one person, with some volumes changed."""
    rows = [
        (number, name.replace("Thalamus", version.thalamus), (changes or {}).get(name, volume))
        for number, name, volume in ASEG
    ]
    program = "segstats.py" if version.fastsurfer else "mri_segstats"
    lines = [
        "# Title Segmentation Statistics ", "# ", f"# generating_program {program}",
        version.volumes, f"# cmdline {program} --seg mri/aseg.mgz --sum stats/aseg.stats",
        "# sysname  Linux", "# hostname node", "# machine  x86_64", "# user     somebody",
        "# anatomy_type volume", "# ",
    ]  # fmt: skip
    if not version.fastsurfer:
        lines += ["# SUBJECTS_DIR /out", "# subjectname sub-01"]
    for category, short, long, value, unit in MEASURES:
        number = (changes or {}).get(short, value)
        lines.append(f"# Measure {category}, {short}, {long}, {number:f}, {unit}")
    lines += ["# SegVolFile mri/aseg.mgz ", "# ExcludeSegId 0 2 3 41 42 ", "# VoxelVolume_mm3 1 "]
    columns = "Index SegId NVoxels Volume_mm3 StructName normMean normStdDev normMin normMax"
    for place, name in enumerate(f"{columns} normRange".split(), start=1):
        lines += [f"# TableCol {place:2d} ColHeader {name} ", f"# TableCol {place:2d} Units     NA"]
    lines += [f"# NRows {len(rows)} ", "# NTableCols 10 ", f"# ColHeaders  {columns} normRange  "]
    intensities = "  ".join(f"{x:10.4f}" for x in (40.6134, 15.2677, 17.0, 100.0, 83.0))
    lines += [
        f"{place:3d} {number:3d}  {int(volume):8d} {volume:10.1f}  {name:<30s} {intensities} "
        for place, (number, name, volume) in enumerate(rows, start=1)
    ]
    return "\n".join(lines) + "\n"


def aparc_text(
    version: Version,
    hemisphere: str,
    regions: list[str] = DESIKAN,
    annotation: str = "aparc",
    thinning: float = 0.0,
) -> str:
    """Stats of a cortical parcellation; region k is 2.0 + 0.02 k mm thick, less `thinning`."""
    lines = [
        "# Table of FreeSurfer cortical parcellation anatomical statistics ", "# ",
        "# CreationTime 2024/11/25-16:40:31-GMT", "# generating_program mris_anatomical_stats",
        version.surfaces,
        f"# cmdline mris_anatomical_stats -th3 -mgz -f ../stats/{hemisphere}.{annotation}.stats",
        "# sysname  Linux", "# hostname node", "# machine  x86_64", "# user     somebody", "# ",
        "# SUBJECTS_DIR /out", "# anatomy_type surface", "# subjectname sub-01",
        f"# hemi {hemisphere}", f"# AnnotationFile ../label/{hemisphere}.{annotation}.annot",
        "# AnnotationFileTimeStamp 2024/11/25 06:08:20",
        "# Measure Cortex, NumVert, Number of Vertices, 125224, unitless",
        "# Measure Cortex, WhiteSurfArea, White Surface Total Area, 85245.6, mm^2",
        "# Measure Cortex, MeanThickness, Mean Thickness, 2.54217, mm",
        "# NTableCols 10", "# TableCol  5 ColHeader ThickAvg ", "# TableCol  5 Units     mm",
        "# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg ThickStd MeanCurv GausCurv "
        "FoldInd CurvInd",
    ]  # fmt: skip
    for place, name in enumerate(regions):
        numbers = (1000 + place, 800 + place, 2400 + 10 * place, 2 + 0.02 * place - thinning)
        vertices, area, volume, thickness = numbers
        lines.append(
            f"{name:<40s} {vertices:5d}  {area:5.0f}  {volume:5.0f}  {thickness:5.3f} {0.5:5.3f} "
            f"{0.12:8.3f} {0.017:8.3f} {20:7.0f}  {1.3:6.1f}"
        )
    return "\n".join(lines) + "\n"


def write_person(
    folder: Path, version: Version, changes: Mapping[str, float] | None = None, **kwargs: object
) -> Path:
    """Write the stats of one person below `folder`, which is that of the person."""
    stats = folder / "stats"
    stats.mkdir(parents=True)
    (stats / "aseg.stats").write_text(aseg_text(version, changes))
    regions = DKT if version.fastsurfer else DESIKAN
    name = "aparc.DKTatlas.mapped" if version.fastsurfer else "aparc"
    for hemisphere in ("lh", "rh"):
        text = aparc_text(version, hemisphere, regions, name, **kwargs)  # type: ignore[arg-type]
        (stats / f"{hemisphere}.{name}.stats").write_text(text)
    return folder
