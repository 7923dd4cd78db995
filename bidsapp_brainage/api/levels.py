"""The two levels as calls: ages of images, and what a folder of them says together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.api.app import checked, run_app
from bidsapp_brainage.api.loose import (
    People,
    find_image,
    find_images,
    label_images,
    lay_out,
    read_people,
)
from bidsapp_brainage.api.results import BrainAge, failure_of, read
from bidsapp_brainage.bids.ages import MAX_AGE_YEARS, parse_sex
from bidsapp_brainage.errors import BrainageError, NoInputError, UsageError
from bidsapp_brainage.settings import all_options, is_remote

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.options import Option

OUTPUT_DIR = "brainage"
#: Options about running that mean something without a dataset.
_RUNNING = ("work_dir", "viewer_mb", "stop_on_first_crash", "write_graph", "debug", "verbose")


@dataclass(frozen=True)
class BrainAges:
    """The predicted ages of several images.

    Attributes
    ----------
    results : tuple of BrainAge
        In the order of the images.
    failed : mapping of str to BrainageError
        Path of an image without an age -> error that says why and what to do.
    """

    results: tuple[BrainAge, ...]
    failed: Mapping[str, BrainageError]

    def table(self) -> pd.DataFrame:
        """One row for each image with an age: ``file``, and the columns of ``*_brainage.tsv``."""
        import pandas as pd

        return pd.DataFrame([{"file": each.file, **each.row} for each in self.results])


@dataclass(frozen=True)
class Group:
    """What the group level found out.

    Attributes
    ----------
    output_dir : Path
        Where its tables lie (``group_*``).
    models : tuple of str
        Models whose predictions were summarised.
    complete : bool
        Whether the tables of all participants could be read.
    """

    output_dir: Path
    models: tuple[str, ...]
    complete: bool

    def table(self, name: str, *, model: str = "", atlas: str = "") -> pd.DataFrame:
        """One table of the group.

        Parameters
        ----------
        name : str
            End of its name, for example ``metrics`` or ``gaps``.
        model, atlas : str, optional
            Which one, where there are several.

        Raises
        ------
        NoInputError
            There is no such table.
        UsageError
            There are several.
        """
        from bidsapp_brainage.bids.names import parse_name
        from bidsapp_brainage.io import read_tsv

        wanted = {"suffix": name, **({"desc": model} if model else {})}
        wanted |= {"atlas": atlas} if atlas else {}
        there = {path: parse_name(path) for path in sorted(self.output_dir.glob("group_*.tsv"))}
        found = [path for path, own in there.items() if wanted.items() <= own.items()]
        if not found:
            known = ", ".join(sorted({own["suffix"] for own in there.values()}))
            raise NoInputError(f"{self.output_dir} has no such table of the group; known: {known}.")
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UsageError(f"{names}: say which one by model or atlas.")
        return read_tsv(found[0])

    def report(self, model: str = "") -> Path:
        """The page of the group, one HTML file that holds everything; by default the first."""
        from bidsapp_brainage.bids.names import output_path

        return output_path(self.output_dir, "group_page", model=model or self.models[0])


def predict(
    image: str | Path,
    *,
    age: float | None = None,
    sex: str | None = None,
    output_dir: str | Path = OUTPUT_DIR,
    **options: Any,
) -> BrainAge:
    """Predict the age of the brain on one T1w image.

    The image goes the way of every image of a BIDS dataset, and all files of that way are written.

    Parameters
    ----------
    image : str or Path
        NIfTI file.
    age : float, optional
        Chronological age in years; without it there is no gap.
    sex : str, optional
        ``F``, ``M`` or ``O``; the volume of the brain is checked by it.
    output_dir : str or Path
        Made if it does not exist; further images and runs may share it.
    **options
        Options of the participant level by their names, for example ``model="sfcn2mm"``,
        ``atlas="Schaefer2018-100"``, ``explain="none"`` or ``nprocs=4``.

    Returns
    -------
    BrainAge

    Raises
    ------
    UsageError
        The image is not there, or an option does not exist or has an impossible value.
    DataError
        The image cannot be used: empty, of one value, cut, not of a head.
    ResourceError
        Model, template or atlas are missing.
    BrainageError
        A step failed.
    """
    import pandas as pd

    _check_person(age, sex)
    path = find_image(Path(image))
    people = read_people(pd.DataFrame([{"file": str(path), "age": age, "sex": sex}]))
    found = _predict([path], people, output_dir, options)
    for error in found.failed.values():
        raise error
    return found.results[0]


def predict_all(
    images: str | Path | Sequence[str | Path],
    *,
    people: str | Path | pd.DataFrame | None = None,
    output_dir: str | Path = OUTPUT_DIR,
    **options: Any,
) -> BrainAges:
    """Predict the ages of several T1w images, which are processed side by side.

    Parameters
    ----------
    images : str, Path or sequence
        NIfTI files, or folders with NIfTI files right in them.
    people : str, Path or pandas.DataFrame, optional
        Table (TSV or CSV) with a column ``file``, the name of an image, and what is known of the
        person: ``age`` (years, or the unit in a JSON beside it), ``sex``, ``site``.
    output_dir : str or Path
        Made if it does not exist; further images and runs may share it.
    **options
        As for :func:`predict`.

    Returns
    -------
    BrainAges
        Of images that could not be used it has the errors.

    Raises
    ------
    UsageError
        An image is not there, the table tells of none, or an option does not exist.
    NoInputError
        A folder has no image.
    ResourceError
        Model, template or atlas are missing.
    """
    named = [images] if isinstance(images, (str, Path)) else images
    table = None if people is None else read_people(people)
    return _predict(find_images(Path(image) for image in named), table, output_dir, options)


def group(output_dir: str | Path, *, bids_dir: str | Path | None = None, **options: Any) -> Group:
    """Summarise all predicted ages of an output folder.

    Parameters
    ----------
    output_dir : str or Path
        Derivatives of the participant level.
    bids_dir : str or Path, optional
        Dataset with a ``participants.tsv`` that has further columns about the people.
    **options
        Options of the group level by their names, for example ``group_column="diagnosis"``.

    Returns
    -------
    Group

    Raises
    ------
    NoInputError
        The folder has no predictions.
    UsageError
        An option does not exist or has an impossible value.
    """
    from bidsapp_brainage.reports.group.stored import stored_models

    folder = Path(output_dir).expanduser().absolute()
    chosen = checked(options, all_options())
    if not folder.is_dir():
        raise NoInputError(f"{folder} is not a folder: predict ages first.")
    raw = folder / "raw" if bids_dir is None else Path(bids_dir).expanduser().absolute()
    complete = run_app(raw, folder, "group", chosen)
    return Group(folder, tuple(stored_models(folder)), complete)


def options_of_images() -> dict[str, Option]:
    """Options of the participant level that mean something for images without a dataset."""
    return {
        name: item
        for name, item in all_options().items()
        if item.section in ("resources", "processing") or name in _RUNNING
    }


def _check_person(age: float | None, sex: str | None) -> None:
    if age is not None and not 0 <= age <= MAX_AGE_YEARS:
        raise UsageError(f"age {age}: give years, from 0 to {MAX_AGE_YEARS:g}.")
    if sex is not None and parse_sex(sex) == "n/a":
        raise UsageError(f"sex {sex}: give F, M or O.")


def _scratch_place(output_dir: Path) -> Path:
    """Where links to the images may lie so that other machines see them: beside the output.

    They have temporary folders of their own.
    """
    beside = output_dir.parent
    return beside if os.access(beside, os.W_OK) else output_dir


def _predict(
    paths: Sequence[Path],
    people: People | None,
    output_dir: str | Path,
    options: Mapping[str, Any],
) -> BrainAges:
    from bidsapp_brainage.model.cards import name_of_card

    chosen = checked(options, options_of_images())
    folder = Path(output_dir).expanduser().absolute()
    images = label_images(paths, folder)
    place = _scratch_place(folder) if is_remote(str(chosen.get("cluster", ""))) else None
    with tempfile.TemporaryDirectory(prefix="brainage-", dir=place) as scratch:
        raw, work = Path(scratch) / "raw", Path(scratch) / "work"
        lay_out(raw, images, people)
        given = {"work_dir": work, **chosen, "skip_bids_validation": True}  # it is our own
        complete = run_app(raw, folder, "participant", given)
    model = name_of_card(str(chosen.get("model", all_options()["model"].default)))
    labels = [image.label for image in images]
    found = {
        each.label: each for each in read(folder, participants=labels, model=model, options=chosen)
    }
    results: list[BrainAge] = []
    failed: dict[str, BrainageError] = {}
    for image in images:
        name, scan = str(image.path), f"sub-{image.label}"
        failure = None if complete else failure_of(folder, (("sub", image.label),), name)
        if scan in found and failure is None:
            results.append(found[scan])
        else:
            failed[name] = failure or BrainageError(f"{name}: see the messages of the run.")
    return BrainAges(tuple(results), failed)
