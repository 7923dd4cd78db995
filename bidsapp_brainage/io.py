"""Reading and writing of files: atomic, reproducible byte for byte, BIDS conventions for tables."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from bidsapp_brainage.errors import DataError

if TYPE_CHECKING:
    import nibabel as nib
    import pandas as pd

_ID_COLUMNS = ("participant_id", "session_id", "run_id")
_GZIP_LEVEL = 1  # of ISA-L, which has 0 to 3
_MAX_JSON_MB = 50  # BIDS sidecars and cards have less than 1
_MAX_IMAGE_GB = 2  # a T1w of 0.25 mm has 1
_HEADER_BYTES = 540  # of NIfTI-2, the longer one
_TAIL_BYTES = 1 << 20  # what may follow the voxels; more is no image that anybody made
_LEAST_ROOM_BYTES = 1 << 16
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; move it there when the block ends well.

    It is a hidden name in the same folder (made if missing) with all suffixes of `final`, so that
    writers that look at the suffix work. On an error it is removed and `final` is untouched.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    suffixes = "".join(final.suffixes)
    stem = final.name[: len(final.name) - len(suffixes)] if suffixes else final.name
    # Jobs in containers share process numbers and threads share one: the token keeps them apart.
    token = secrets.token_hex(4)
    temporary = final.with_name(f".{stem}.{token}.{os.getpid()}.tmp{suffixes}")
    try:
        yield temporary
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, is that a disk or a quota is full."""
    causes = (error.__cause__, error.__context__)
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return any(is_disk_full(cause) for cause in causes if cause is not None)


def tells_of_full_disk(text: str) -> bool:
    """Whether a traceback, or what was made of one, says that a disk or a quota is full."""
    return any(os.strerror(number) in text for number in _DISK_FULL)


def has_room(folder: Path) -> bool:
    """Whether the disk of a folder has some space left; that of its parent if it is not there."""
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free > _LEAST_ROOM_BYTES


def remove_temporary(folder: Path, pids: Iterable[int]) -> None:
    """Remove the temporary files that ended processes left under a folder."""
    for pid in pids:
        for leftover in Path(folder).rglob(f".*.{pid}.tmp*"):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder while a table in it is read, merged and written.

    Some network file systems know no such locks; then the writing is still atomic, and the worst
    case is a row that the next run adds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def now() -> str:
    """Give the present time in UTC, ``2026-01-31T12:00:00Z``."""
    return in_utc(time.time())


def in_utc(seconds: float) -> str:
    """Give a time (seconds since 1970) in UTC, ``2026-01-31T12:00:00Z``."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically, only if the file does not hold it already."""
    path = Path(path)
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, only if the content differs."""
    write_bytes(path, text.encode("utf-8"))


def write_lines(path: Path, portions: Iterable[str]) -> None:
    """Write UTF-8 text that is too large to be held at once, atomically."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        file.writelines(portions)


def write_json(path: Path, obj: object) -> None:
    """Write JSON (insertion order, indent 2, trailing newline; NaN becomes ``null``)."""
    write_text(path, json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def as_json(content: dict[str, object]) -> dict[str, object]:
    """What is read again of an object that :func:`write_json` writes."""
    return dict(json.loads(json.dumps(_plain(content), allow_nan=False)))


def _plain(value: object) -> object:
    """Turn numpy scalars and arrays, paths and tuples into what JSON knows; NaN into None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def parse_json(path: Path) -> Any:
    """Content of a JSON file that somebody else may have written.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no JSON, or so large or so deeply nested that reading it would end the program.
    """
    size_mb = path.stat().st_size / 1e6
    if size_mb > _MAX_JSON_MB:
        raise ValueError(f"it has {size_mb:.0f} MB; at most {_MAX_JSON_MB} MB are read")
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> dict[str, object]:
    """Content of a JSON file; empty if it is missing, broken or no object."""
    try:
        content = parse_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_tsv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as BIDS TSV, atomically.

    Missing values are written ``n/a``, floats with six significant digits, booleans as
    ``true``/``false``; the separator is a tab and lines end with a line feed on every system.
    """
    lines = ["\t".join(str(name) for name in frame.columns)]
    columns = [frame[name].tolist() for name in frame.columns]
    lines += ["\t".join(_cell(value) for value in row) for row in zip(*columns, strict=True)]
    write_text(path, "\n".join(lines) + "\n")


def _cell(value: object) -> str:
    """One TSV cell."""
    import pandas as pd

    if value is None or value is pd.NA:
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value:
            return "n/a"
        return f"{value + 0.0:.6g}"  # + 0.0 turns the negative zero into zero
    if hasattr(value, "item"):  # a numpy scalar
        return _cell(value.item())
    text = " ".join(str(value).split())
    return text or "n/a"


def read_tsv(path: Path | IO[bytes], *, as_text: bool = False) -> pd.DataFrame:
    """Read a BIDS TSV: ``n/a`` becomes missing; identifiers stay text (leading zeros are kept).

    With `as_text` every column stays text; else all of its rows decide about the type of a column.

    Raises
    ------
    DataError
        If the file is missing, not a table, or not UTF-8 text.
    """
    import pandas as pd

    try:
        return pd.read_csv(
            path,
            sep="\t",
            na_values=["n/a", "N/A", ""],
            keep_default_na=False,
            dtype=str if as_text else dict.fromkeys(_ID_COLUMNS, str),
            encoding="utf-8-sig",
            low_memory=False,
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a tab-separated table ({error}): save it as UTF-8 text with one "
            "header line and tabs between columns."
        ) from error


def read_rows(path: Path) -> list[dict[str, str | None]]:
    """Read the rows of a BIDS TSV as text, ``n/a`` as None: many small tables in little time.

    Raises
    ------
    DataError
        If the file cannot be read, or a row has more cells than the header.
    """
    try:
        header, *lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path} is not a tab-separated table ({error}).") from error
    names = header.split("\t")
    rows = []
    for cells in (line.split("\t") for line in lines if line):
        if len(cells) > len(names):
            raise DataError(f"{path} has a row with more cells than its header.")
        known = (None if cell in ("n/a", "N/A", "") else cell for cell in cells)
        rows.append({**dict.fromkeys(names), **dict(zip(names, known, strict=False))})
    return rows


def save_nifti(img: nib.Nifti1Image, path: Path) -> None:
    """Save a NIfTI image atomically and reproducibly.

    The gzip header carries neither a time nor a file name, so that the same image gives the same
    bytes. The suffix ``.gz`` decides about compression.
    """
    from isal import igzip  # a tenth of zlib's time, and as small

    content = img.to_bytes()
    if str(path).endswith(".gz"):
        content = igzip.compress(content, compresslevel=_GZIP_LEVEL, mtime=0)
    write_bytes(Path(path), content)


def load_nifti(path: Path) -> nib.Nifti1Image:
    """Load a NIfTI image (voxels as stored) completely into memory and check that it is whole.

    No more is read and unpacked than the header says, and nothing if that is absurd.

    Raises
    ------
    DataError
        If the file is missing, truncated, corrupt, not NIfTI, or larger than a T1w image can be.
    """
    import nibabel as nib

    path = Path(path)
    with _damage_told(path), _unpacked(path) as stream:
        head = stream.read(_HEADER_BYTES)
        kind, needed = _image_kind(head, path)
        stream.seek(0)  # one piece takes less time than two that are joined
        content = stream.read(max(needed, len(head)))
        tail = stream.read(_TAIL_BYTES)
    if len(content) < needed:
        raise DataError(
            f"{path} is truncated ({len(content)} of {needed} bytes): copy or download it again."
        )
    if len(tail) == _TAIL_BYTES:
        raise DataError(
            f"{path} goes on after the voxels that its header tells of ({needed} bytes): it is "
            "damaged, or no image; convert it again."
        )
    try:
        img = kind.from_bytes(content)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        raise DataError(f"{path} is damaged ({error}): copy or convert it again.") from error
    if kind is nib.Nifti2Image:
        img = nib.Nifti1Image(img.dataobj, img.affine)
    return img


def load_grid(path: Path) -> nib.Nifti1Image:
    """Open a NIfTI image for its shape and affine alone; the voxels are not read.

    Raises
    ------
    DataError
        If the file is missing or not NIfTI.
    """
    import nibabel as nib

    try:
        return nib.load(path)  # type: ignore[return-value]
    except (OSError, EOFError, zlib.error, nib.filebasedimages.ImageFileError):
        return load_nifti(path)  # which says what is wrong


def _image_kind(head: bytes, path: Path) -> tuple[type[nib.Nifti1Image], int]:
    """Kind of the image that begins so, and the bytes that it must have.

    Raises
    ------
    DataError
        If this is no NIfTI, or the header claims more than is ever read.
    """
    import nibabel as nib

    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        try:
            # the fields alone: extensions may go on beyond what was read
            header = kind.header_class(head[: kind.header_class.template_dtype.itemsize])
        except Exception:  # nibabel raises many kinds for a foreign header
            continue
        break
    else:
        raise DataError(f"{path} is not a NIfTI image: convert it (for example with dcm2niix).")
    shape = [int(size) for size in header.get_data_shape()]
    needed = int(header.get_data_offset()) + math.prod(shape) * header.get_data_dtype().itemsize
    if needed > _MAX_IMAGE_GB * 1e9:
        raise DataError(
            f"{path}: its header claims {' x '.join(map(str, shape))} voxels ({needed:.3g} bytes; "
            f"at most {_MAX_IMAGE_GB} GB are read): it is damaged, or no T1w image. Convert it "
            "again, or leave it out."
        )
    return kind, needed


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file as a stream of its bytes, which are unpacked while they are read."""
    from isal import igzip

    with path.open("rb") as packed:
        is_gzip = packed.read(2) == b"\x1f\x8b"
        packed.seek(0)
        if is_gzip:
            with igzip.open(packed) as stream:
                yield cast(IO[bytes], stream)
        else:
            yield packed


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Turn what goes wrong while an image is read into a message with the remedy."""
    from isal import isal_zlib

    try:
        yield
    except FileNotFoundError as error:
        hint = " (a link without target: fetch it with `datalad get`)" if path.is_symlink() else ""
        raise DataError(f"{path} does not exist{hint}.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): it must be a file that you may read."
        ) from error
    except (OSError, EOFError, isal_zlib.error) as error:
        raise DataError(
            f"{path} is truncated or corrupt ({error}): copy or download it again."
        ) from error
