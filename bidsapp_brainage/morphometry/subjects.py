"""People of a folder of FreeSurfer or FastSurfer results, and what their stats files say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bidsapp_brainage.errors import DataError, NoInputError, UsageError

from .names import AUTO, PARCELLATIONS, labels
from .stats_files import StatsFile, read_stats

HEMISPHERES = ("lh", "rh")
#: A region that only this parcellation has; DKT lacks it, though its other names are Desikan's.
_MARKS = MappingProxyType({"bankssts": "desikan", "G_front_sup": "destrieux"})
_CORTEX = MappingProxyType({"thickness": "ThickAvg", "volume": "GrayVol", "area": "SurfArea"})
_INSIDE = ("sourcedata/freesurfer", "freesurfer")  # of derivatives of fMRIPrep
_BESIDE = ("fmriprep", "smriprep")  # older versions wrote ``freesurfer`` beside folders so named
_AGAIN = "Run recon-all or FastSurfer again for this person, with one version for all steps."
_TEMPLATES = re.compile(r"fsaverage|cvs_avg35|[lr]h\.EC_average|V1_average")
_LONGITUDINAL = re.compile(r"\.long\.")


if TYPE_CHECKING:
    from .tables import Measures


@dataclass(frozen=True)
class Subject:
    """One folder of results, with the labels of person and session (empty if none)."""

    folder: Path
    participant: str
    session: str = ""

    @property
    def identity(self) -> dict[str, str | None]:
        """``participant_id`` and ``session_id`` as in BIDS tables."""
        session = f"ses-{self.session}" if self.session else None
        return {"participant_id": f"sub-{self.participant}", "session_id": session}


@dataclass(frozen=True)
class Morphometry:
    """Regional measures of one person.

    Attributes
    ----------
    values : mapping of str to float
        Volumes (mm3) by FreeSurfer's names, and ``lh_REGION_thickness`` (mm), ``_volume`` (mm3)
        and ``_area`` (mm2) of cortical regions.
    parcellation : str
        Key of :data:`PARCELLATIONS`.
    software : str
        Program and version of the volumes, for example ``FreeSurfer 7.3.2``.
    """

    values: Mapping[str, float]
    parcellation: str = ""
    software: str = ""


def find_subjects(folder: Path) -> list[Subject]:
    """Everybody with a folder ``stats``, sorted by label.

    Parameters
    ----------
    folder : Path
        A ``SUBJECTS_DIR``, derivatives of fMRIPrep with ``sourcedata/freesurfer`` (or
        ``freesurfer`` beside them, as older versions wrote), or the folder of one person. Template
        subjects and longitudinal time points (``X.long.BASE``) are left out: the models learned
        from single scans.

    Raises
    ------
    UsageError
        There is no such folder.
    NoInputError
        Nobody in it has stats.
    DataError
        Two folders have the same labels after characters that BIDS does not allow are left out.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: give the results of recon-all or FastSurfer.")
    places = [folder, *(folder / name for name in _INSIDE)]
    if folder.resolve().name in _BESIDE:
        places.append(folder.resolve().parent / "freesurfer")
    found: list[Subject] = []
    for place in places:
        found = [Subject(own, *labels(own.resolve().name)) for own in _with_stats(place)]
        if found:
            break
    if not found:
        raise NoInputError(
            f"{folder} holds no folder stats: give a SUBJECTS_DIR of recon-all or FastSurfer, "
            "derivatives of fMRIPrep with sourcedata/freesurfer, or the folder of one person."
        )
    _check_labels(found)
    return sorted(found, key=lambda one: (one.participant, one.session))


def read_morphometry(subject: Subject, parcellation: str = AUTO) -> Morphometry:
    """Read ``aseg.stats`` and the cortical stats of one person.

    Parameters
    ----------
    subject : Subject
    parcellation : str
        Key of :data:`PARCELLATIONS`, or ``auto`` for the first that is there.

    Raises
    ------
    DataError
        A file is missing, truncated or foreign, the files are of different versions of
        FreeSurfer, or of another parcellation than their names say.
    """
    stats = subject.folder / "stats"
    volumes = read_stats(stats / "aseg.stats")
    if volumes.hemisphere:
        raise DataError(f"{volumes.path} is a file of the {volumes.hemisphere}, not of volumes.")
    values = {**volumes.column("Volume_mm3"), **volumes.measures}
    surfaces = [_surface(stats, hemisphere, parcellation) for hemisphere in HEMISPHERES]
    kinds = {_kind(one) for one in surfaces}
    if len(kinds) > 1:
        raise DataError(f"{stats}: the two hemispheres have other parcellations. {_AGAIN}")
    _check_versions(stats, [volumes, *surfaces])
    for one in surfaces:
        values |= _cortex(one)
    software = " ".join(part for part in (volumes.program, volumes.version) if part)
    return Morphometry(values, kinds.pop(), software)


def read_folder(folder: Path, parcellation: str = AUTO) -> tuple[Measures, list[str]]:
    """Measures of everybody in a folder, and a sentence about each who cannot be read.

    Parameters and what is raised are those of :func:`find_subjects` and
    :func:`read_morphometry`; only if nobody can be read, an error is raised.
    """
    import pandas as pd

    from .tables import Measures

    people, found, failed = [], [], []
    for subject in find_subjects(folder):
        try:
            found.append(read_morphometry(subject, parcellation))
            people.append(subject.identity)
        except DataError as error:
            failed.append(f"sub-{subject.participant}: {error}")
    if not found:
        raise DataError(f"Nobody of {folder} can be read. {failed[0]}")
    measures = Measures(
        pd.DataFrame(people),
        pd.DataFrame([dict(one.values) for one in found]),
        tuple(one.software for one in found),
        tuple(one.parcellation for one in found),
    )
    return measures, failed


def _with_stats(place: Path) -> Iterator[Path]:
    """The folder itself if it has stats, else its subfolders that have."""
    if (place / "stats").is_dir():
        yield place
    elif place.is_dir():
        for own in sorted(place.iterdir()):
            named = not _TEMPLATES.match(own.name) and not _LONGITUDINAL.search(own.name)
            if named and (own / "stats").is_dir():
                yield own


def _check_labels(found: Iterable[Subject]) -> None:
    known: dict[tuple[str, str], Subject] = {}
    for one in found:
        other = known.setdefault((one.participant, one.session), one)
        if other is not one:
            raise DataError(
                f"{other.folder.name} and {one.folder.name} would both be sub-{one.participant}: "
                "rename one of the folders (letters and digits, `sub-LABEL` or "
                "`sub-LABEL_ses-LABEL`)."
            )


def _surface(stats: Path, hemisphere: str, parcellation: str) -> StatsFile:
    wanted = PARCELLATIONS if parcellation == AUTO else (parcellation,)
    names = [f"{hemisphere}.{end}.stats" for kind in wanted for end in PARCELLATIONS[kind]]
    path = next((stats / name for name in names if (stats / name).exists()), stats / names[0])
    one = read_stats(path)
    if one.hemisphere and one.hemisphere != hemisphere:
        raise DataError(f"{path} is of the {one.hemisphere}, though its name says {hemisphere}.")
    if parcellation != AUTO and (kind := _kind(one)) != parcellation:
        raise DataError(
            f"{path} has regions of the parcellation {kind}, not of {parcellation}: choose "
            f"`parcellation` {kind} or {AUTO}."
        )
    return one


def _kind(surface: StatsFile) -> str:
    """Which parcellation it is: file names do not tell, since FastSurfer links DKT as ``aparc``."""
    return next((kind for mark, kind in _MARKS.items() if mark in surface.rows), "dkt")


def _check_versions(stats: Path, files: Iterable[StatsFile]) -> None:
    """FreeSurfer's own files must be of one version; FastSurfer calls FreeSurfer for surfaces."""
    versions = {one.version for one in files if one.program == "FreeSurfer" and one.version}
    if len(versions) > 1:
        raise DataError(
            f"{stats} has files of FreeSurfer {' and '.join(sorted(versions))}. {_AGAIN}"
        )


def _cortex(surface: StatsFile) -> dict[str, float]:
    side = surface.path.name[:2]
    return {
        f"{side}_{region}_{measure}": value
        for measure, column in _CORTEX.items()
        for region, value in surface.column(column).items()
    }
