"""What all our nipype interfaces share: a stage name, its cost, and the app's version as input."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, traits

from bidsapp_brainage import __version__
from bidsapp_brainage.interfaces.metering import save_usage, start_meter

LOGGER = logging.getLogger("bidsapp_brainage")
_SILENCE_S = 5.0
_SCANNER_CODE = 1
_MNI_CODE = 4


class StageInputSpec(BaseInterfaceInputSpec):
    """Inputs of every stage."""

    app_version = traits.Str(
        __version__, usedefault=True, desc="part of the hash: a new version computes anew"
    )

    def _get_sorteddict(
        self,
        objekt: Any,
        dictwithhash: bool = False,
        hash_method: str | None = None,
        hash_files: bool = True,
    ) -> Any:
        """Part of the hash that a value is, as nipype makes it, but no file is read again.

        nipype reads every file twice for each node that gets it.
        """
        if hash_files and hash_method == "content" and isinstance(objekt, str):
            path = Path(objekt)
            if path.is_file():
                found = path.stat()
                digest = _digest(path, found.st_ino, found.st_size, found.st_mtime_ns)
                return (objekt, digest) if dictwithhash else digest
        return super()._get_sorteddict(objekt, dictwithhash, hash_method, hash_files)


@functools.lru_cache(maxsize=1 << 12)  # what the scans in work, and all of them, look at
def _digest(path: Path, *_: int) -> str:
    """SHA-256 of a file, until its number, its size or its time of change is another one."""
    from bidsapp_brainage.io import file_sha256

    return file_sha256(path)


class StageInterface(SimpleInterface):
    """A nipype interface that is one stage of the work on a scan.

    Attributes
    ----------
    stage : str
        Name of the stage in plain words, for the progress log; empty keeps it out of the log.
    announced : bool
        Whether the log was told already that the work is done.
    debugged : bool
        Whether an error leaves `run` with its own traceback, instead of as text in the result.
    """

    stage = ""
    announced = False
    debugged = False

    def run(self, cwd: Any = None, ignore_exception: bool | None = None, **inputs: Any) -> Any:
        """Run as nipype does."""
        ignored = False if self.debugged else ignore_exception
        return super().run(cwd=cwd, ignore_exception=ignored, **inputs)

    def _pre_run_hook(self, runtime: Any) -> Any:
        self._meter = start_meter()
        self._last_word = time.monotonic()
        return runtime

    def _post_run_hook(self, runtime: Any) -> Any:
        save_usage(self._meter.usage(), Path(runtime.cwd))
        return runtime

    def _progress(self, done: int, total: int) -> None:
        """Say how far a long stage has come, now and then."""
        now = time.monotonic()
        if now - self._last_word >= _SILENCE_S and done < total:
            LOGGER.info("%s: %d of %d", self.stage, done, total)
            self._last_word = now

    def _file(self, runtime: Any, name: str) -> str:
        """Absolute path of an output file in the node's folder."""
        return str(Path(runtime.cwd) / name)

    def _save(self, runtime: Any, name: str, image: Any, *, standard: bool = False) -> str:
        """Save an image in the node's folder and return its path.

        The header says millimetres, and whether the axes are the scanner's or a template's.
        """
        from bidsapp_brainage import io

        code = _MNI_CODE if standard else _SCANNER_CODE
        image.set_sform(image.affine, code=code)
        image.set_qform(image.affine, code=code)
        image.header.set_xyzt_units("mm")
        path = self._file(runtime, name)
        io.save_nifti(image, Path(path))
        return path
