"""Images that lie anywhere, laid out as a small BIDS dataset of links.

So they go the way of every other image. The labels come from the names of the files; a table at
the root of the output, ``files.tsv``, keeps which image has which label.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import io
from bidsapp_brainage.bids.dataset import BIDS_VERSION, UNLINKED
from bidsapp_brainage.bids.derivatives import tried_participants
from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.input.annex import is_elsewhere
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import DataError, NoInputError, UsageError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".nii.gz", ".nii")
FILES = "files.tsv"
_LONGEST = 64  # letters of a label, which stands twice in a path
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True)
class LooseImage:
    """An image with the label (without ``sub-``) that it has in an output folder."""

    path: Path
    label: str


def find_image(path: Path) -> Path:
    """An image by its absolute path.

    Raises
    ------
    UsageError
        It is not there, or no NIfTI file.
    """
    path = path.expanduser().absolute()
    if is_elsewhere(path):
        raise UsageError(f"{path} is a link without target: fetch it with `datalad get`.")
    if not path.is_file():
        raise UsageError(f"{path} is not a file: check the path (and bind mounts).")
    if not _is_image(path):
        raise UsageError(f"{path} is not NIfTI: convert it, for example with dcm2niix.")
    return path


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The images that are meant: files as they are, of a folder all NIfTI files right in it.

    Raises
    ------
    UsageError
        A path leads nowhere, is no NIfTI file or a BIDS dataset, or stands there twice.
    NoInputError
        A folder has no NIfTI file.
    """
    found: list[Path] = []
    for path in (path.expanduser().absolute() for path in paths):
        found += _in_folder(path) if path.is_dir() else [find_image(path)]
    doubled = [path for path, count in Counter(found).items() if count > 1]
    if doubled:
        raise UsageError(f"{doubled[0]} is given twice: name every image once.")
    return found


def _in_folder(folder: Path) -> list[Path]:
    if (folder / "dataset_description.json").is_file() or any(folder.glob("sub-*/")):
        raise UsageError(
            f"{folder} is a BIDS dataset, which has a way of its own: bidsapp-brainage {folder} "
            "OUTPUT_DIR participant."
        )
    images = sorted(find_image(path) for path in folder.glob("[!.]*") if _is_image(path))
    if not images:
        raise NoInputError(
            f"{folder} has no {' or '.join(SUFFIXES)} file right in it: name the files, or the "
            "folder that they are in."
        )
    return images


def _is_image(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def label_of(name: str) -> str:
    """A label of letters and digits from the name of a file.

    Examples
    --------
    >>> [label_of(name) for name in ("t1.nii.gz", "sub-01_T1w.nii", "Müller 2.nii.gz", "_.nii")]
    ['t1', '01', 'Muller2', 'image']
    """
    stem = _stem(name).removeprefix("sub-").removesuffix("_T1w")
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return _NOT_IN_LABELS.sub("", ascii_only)[:_LONGEST] or "image"


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    return name.removesuffix(suffix)


def label_images(paths: Sequence[Path], output_dir: Path) -> list[LooseImage]:
    """Give every image a label and keep it in ``files.tsv``, without the place of the image.

    The same name and content has the same label ever after; another image of the same name gets a
    number behind it, and so does one that is called like a participant of a dataset.

    Raises
    ------
    UsageError
        Two of the images have the same name and content, or the folder cannot be written.
    DataError
        An image cannot be read.
    """
    digests = [_digest(path) for path in paths]
    try:
        return _keep_labels(paths, digests, output_dir)
    except OSError as error:
        if io.is_disk_full(error):
            raise
        raise UsageError(
            f"The output folder {output_dir} cannot be written ({error.strerror}): check its "
            "permissions, or give another one."
        ) from error


def _keep_labels(
    paths: Sequence[Path], digests: Sequence[str], output_dir: Path
) -> list[LooseImage]:
    """Take the labels of the table and add those of new images."""
    with io.folder_lock(output_dir):
        rows = read_files(output_dir)
        known = {(row["file"], row["sha256"]): row["participant_id"] for row in rows}
        taken = {label.lower() for label in (*known.values(), *tried_participants(output_dir))}
        images: dict[str, LooseImage] = {}
        for path, digest in zip(paths, digests, strict=True):
            key = " ".join(path.name.split()), digest  # as a table keeps it
            label = known.get(key) or _new_label(path.name, taken)
            taken.add(label.lower())
            if label in images:
                raise UsageError(f"{images[label].path} and {path} are the same image: give one.")
            known[key] = label
            images[label] = LooseImage(path, label.removeprefix("sub-"))
        _write_files(output_dir, known)
    return list(images.values())


def _digest(path: Path) -> str:
    try:
        return io.file_sha256(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): copy or download it again.") from error


def _new_label(name: str, taken: set[str]) -> str:
    wanted = label = f"sub-{label_of(name)}"
    number = 2
    while label.lower() in taken:
        label, number = f"{wanted}x{number}", number + 1
    return label


def read_files(output_dir: Path) -> list[dict[str, str]]:
    """Rows of ``files.tsv``; none without such a table."""
    path = output_dir / FILES
    rows = io.read_rows(path) if path.is_file() else []
    return [{name: value or "" for name, value in row.items()} for row in rows]


def _write_files(output_dir: Path, labels: Mapping[tuple[str, str], str]) -> None:
    import pandas as pd

    rows = [(label, name, digest) for (name, digest), label in labels.items()]
    path, columns = output_dir / FILES, columns_of("files")
    io.write_tsv(path, pd.DataFrame(sorted(rows), columns=columns))
    io.write_json(path.with_suffix(".json"), sidecar(path.stem, columns))


@dataclass(frozen=True)
class People:
    """What is known of the people on the images.

    Attributes
    ----------
    rows : pandas.DataFrame
        Texts: ``file``, and what is known: ``age``, ``sex``, ``site``, more.
    name : str
        What messages call it.
    dictionary : mapping
        The JSON beside the table, which may tell the unit of the ages.
    """

    rows: pd.DataFrame
    name: str = "people"
    dictionary: Mapping[str, object] = field(default_factory=dict)


def read_people(table: str | Path | pd.DataFrame) -> People:
    """Read a table of people, TSV or CSV, or take one.

    Raises
    ------
    DataError
        It cannot be read.
    UsageError
        It has no column ``file``.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        text = table.astype(object).where(table.notna(), "n/a").astype(str)
        people = People(text)
    else:
        path = Path(table).expanduser()
        people = People(_read_table(path), str(path), io.read_json(path.with_suffix(".json")))
    if "file" not in people.rows:
        raise UsageError(
            f"{people.name} has no column file with the names of the images; it has: "
            f"{', '.join(map(str, people.rows.columns))}."
        )
    return people


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix != ".csv":
        return io.read_tsv(path, as_text=True).fillna("n/a")
    try:
        return pd.read_csv(path, dtype=str, encoding="utf-8-sig").fillna("n/a")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table ({error}): save it as UTF-8 text.") from error


def lay_out(folder: Path, images: Sequence[LooseImage], people: People | None) -> None:
    """Make a BIDS dataset of links to the images in an empty folder.

    Raises
    ------
    UsageError
        Two rows of the table name one image, or no row names any.
    """
    described = {"Name": UNLINKED, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw"}
    io.write_json(folder / "dataset_description.json", described)
    for image in images:
        name = f"sub-{image.label}"
        suffix = next(suffix for suffix in SUFFIXES if image.path.name.endswith(suffix))
        link = folder / name / "anat" / f"{name}_T1w{suffix}"
        link.parent.mkdir(parents=True)
        link.symlink_to(image.path)
    if people is not None:
        io.write_tsv(folder / "participants.tsv", _participants(people, images))
        io.write_json(folder / "participants.json", dict(people.dictionary))


def _participants(people: People, images: Sequence[LooseImage]) -> pd.DataFrame:
    """Rows of ``participants.tsv``: of every image the row whose ``file`` names it.

    A name may be the whole path or its end, with or without suffix.
    """
    import pandas as pd

    columns = [name for name in people.rows if name not in ("participant_id", "file")]
    called: dict[str, list[tuple[int, Path]]] = {}  # by name alone, for there may be many of both
    for place, text in enumerate(people.rows["file"]):
        file = Path(str(text))
        called.setdefault(_stem(file.name), []).append((place, file))
    rows, n_named = [], 0
    for image in images:
        alike = called.get(_stem(image.path.name), [])
        own = people.rows.iloc[[place for place, file in alike if _ends_with(image.path, file)]]
        if len(own) > 1:
            raise UsageError(f"{people.name} has several rows for {image.path}: keep one.")
        n_named += len(own)
        known = own[columns].iloc[0].to_dict() if len(own) else {}
        rows.append({"participant_id": f"sub-{image.label}", **known})
    if not n_named:
        raise UsageError(
            f"{people.name} tells of none of the images: its column file must have their names, "
            f"for example {images[0].path.name}."
        )
    return pd.DataFrame(rows, columns=["participant_id", *columns])


def _ends_with(path: Path, end: Path) -> bool:
    """Whether the folders of a file are, at their end, those of another."""
    folders = end.parent.parts
    return path.parent.parts[len(path.parent.parts) - len(folders) :] == folders
