"""Sums of the maps of many people, kept beside the pooled tables so that each map is read once.

People are divided into parts as those of the tables are, but larger ones: a sum takes as much room
as an image, and is made anew from all of its maps when one of them is new, changed or gone. A part
is one NumPy file with the sum and the path, size and time of change (ns) of each map.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.pooled.store import SmallTable, divide, file_key
from bidsapp_brainage.io import atomic_path

if TYPE_CHECKING:
    import nibabel as nib

_PEOPLE_PER_SUM = 2000
_MAKE = f"bidsapp_brainage {__version__}, form 1"
_THREADS = 2  # unpacking of images leaves the interpreter free

Sum: TypeAlias = NDArray[np.float64]
Read: TypeAlias = Callable[[Path], NDArray[np.float32]]


def sum_of_means(
    root: Path, folder: Path, maps: Mapping[str, Path], grid: nib.Nifti1Image, read: Read
) -> tuple[Sum, int]:
    """Sum over people of the mean of their maps, and the number of people.

    Parameters
    ----------
    root : Path
        The derivatives.
    folder : Path
        Where the sums are kept.
    maps : mapping of str to Path
        By the name of the scan (``sub-01_ses-1``), at least one.
    grid : Nifti1Image
        An image on the grid of all maps; sums of maps on another one are not used.
    read : callable
        Voxels of a map, which it refuses if they are on another grid; its errors are passed on.
    """
    files = [SmallTable(path, scan.split("_")[0], None, None, scan) for scan, path in maps.items()]
    parts = divide(files, sorted(path.stem for path in folder.glob("sub-*.npz")), _PEOPLE_PER_SUM)
    total = np.zeros(grid.shape, order="F")  # as images lie in their files
    for label, own in parts.items():
        total += _part(root, folder / f"{label}.npz", own, grid, read)
    _tidy(folder, parts)
    return total, len({file.participant_id for file in files})


def _part(
    root: Path, path: Path, files: Sequence[SmallTable], grid: nib.Nifti1Image, read: Read
) -> Sum:
    """The sum that is kept of these files, or a new one."""
    place = [grid.shape, grid.affine.round(3).tolist()]
    facts = json.dumps([_MAKE, place, [file_key(root, file.path) for file in files]])
    known = _kept(path, facts)
    if known is not None:
        return known
    by_person: dict[str, list[Path]] = {}
    for file in files:
        by_person.setdefault(file.participant_id, []).append(file.path)
    people = list(by_person.values())
    with ThreadPoolExecutor(_THREADS) as pool:
        shares = (people[start::_THREADS] for start in range(_THREADS))
        total = sum(pool.map(lambda share: _summed(share, read, grid.shape), shares))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, total=total, facts=np.array(facts))
    return np.asarray(total)


def _kept(path: Path, facts: str) -> Sum | None:
    """The sum in a file; None where it is of other maps, broken or not there."""
    try:
        with np.load(path) as kept:
            return np.asarray(kept["total"]) if str(kept["facts"]) == facts else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _summed(people: Sequence[Sequence[Path]], read: Read, shape: tuple[int, ...]) -> Sum:
    """Sum over some people, with little memory that is not used again."""
    total = np.zeros(shape, order="F")
    for paths in people:
        for path in paths:
            total += read(path) if len(paths) == 1 else read(path) / len(paths)
    return total


def _tidy(folder: Path, used: Collection[str]) -> None:
    for path in folder.glob("sub-*.npz"):
        if path.stem not in used:
            path.unlink(missing_ok=True)
