"""Templates through TemplateFlow, plus the one that comes with the app.

TemplateFlow reads its folder from ``TEMPLATEFLOW_HOME``. The app must work without network and
with a read-only folder, and must add a template of its own; so it makes a *merged home* inside
the work folder: links to every ``tpl-*`` folder of the user's home, and beside them
``tpl-MNI152NLin2009aSym``, written from the ICBM152 2009a symmetric template that nilearn bundles.
"""

from __future__ import annotations

import difflib
import filecmp
import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError, ResourceError, UsageError

if TYPE_CHECKING:
    import nibabel as nib
    from bids.layout import BIDSLayout

EMBEDDED_TEMPLATE = "MNI152NLin2009aSym"
_EMBEDDED_FILE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_MARKER = ".bidsapp-brainage-home.json"
_PREFERRED_RESOLUTIONS = (1, 2, None)  # None: the template has one grid, without a name
# A skull-stripped template has nothing outside its mask; a whole head has 30 % and more.
_MAX_OUTSIDE_FRACTION = 0.1
_IMAGE_EXTENSIONS = [".nii.gz", ".nii"]
_NEEDED = ("T1w", "mask")
#: What a query may say of a file, with the key in file names.
_SHORT: Mapping[str, str] = MappingProxyType(
    {
        "cohort": "cohort",
        "atlas": "atlas",
        "suffix": "suffix",
        "desc": "desc",
        "resolution": "res",
    }
)


@dataclass(frozen=True)
class TemplateFiles:
    """The files of one template that registration needs."""

    name: str  # TemplateFlow identifier, for example MNI152NLin2009aSym
    t1w: Path  # three-dimensional
    mask: Path  # brain mask on the same grid
    skull_stripped: bool  # whether the T1w shows only the brain
    cohort: str = ""  # of templates that have several, for example of ages

    @property
    def label(self) -> str:
        """Value of ``space-`` and the like in output names: ``MNIPediatricAsym+2``."""
        return f"{self.name}+{self.cohort}" if self.cohort else self.name

    @property
    def spacing_mm(self) -> float:
        """Largest voxel edge in mm, to a tenth."""
        import nibabel as nib

        image = cast("nib.Nifti1Image", nib.load(self.t1w))
        return round(float(max(image.header.get_zooms()[:3])), 1)


def user_home(home: Path | None = None) -> Path:
    """Folder of the user's own TemplateFlow templates (it need not exist).

    ``TEMPLATEFLOW_HOME`` (or `home`) if set, else TemplateFlow's default cache folder. When that
    is a merged home already (a nested call), the home that it was made from is meant.
    """
    folder = str(home) if home else os.environ.get("TEMPLATEFLOW_HOME")
    if folder:
        return _source_of(Path(folder).absolute())
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("templateflow")).absolute()


def _source_of(home: Path) -> Path:
    """The user's home behind a merged home; a home that is not merged is its own source."""
    marker = home / _MARKER
    if marker.is_file():
        return Path(json.loads(marker.read_text(encoding="utf-8"))["source"])
    return home


def prepare_home(work_dir: Path) -> Path:
    """Make (or refresh) a TemplateFlow home that holds the user's templates and the embedded one.

    Nothing outside `work_dir` is written and no global state changes: the caller puts the returned
    path (absolute) into ``TEMPLATEFLOW_HOME``, before TemplateFlow is first imported, because it
    reads the variable then. Safe when several jobs share `work_dir`: files and links appear
    atomically and are the same for all. Homes of different users' folders do not mix.

    Raises
    ------
    UsageError
        If the home cannot be written (read-only or full work folder).
    """
    source = user_home()
    digest = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    home = Path(work_dir).absolute() / f"templateflow-{digest}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        _link_user_templates(source, home)
        _write_own_files(home, source)
    except OSError as error:
        if io.is_disk_full(error):
            raise
        raise UsageError(
            f"The template folder {home} cannot be written ({error}): choose another work folder "
            "with `work_dir`, on a writable disk with at least 100 MB free."
        ) from error
    return home


def _link_user_templates(source: Path, home: Path) -> None:
    """Link every ``tpl-*`` folder of `source` into `home`; drop links that lead nowhere."""
    for link in home.glob("tpl-*"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
    if not source.is_dir():
        return
    for folder in sorted(source.glob("tpl-*")):
        # The embedded template keeps its place: model cards mean exactly that image.
        if not folder.is_dir() or folder.name == f"tpl-{EMBEDDED_TEMPLATE}":
            continue
        target = home / folder.name
        if target.is_symlink() or target.exists():
            continue
        try:
            target.symlink_to(folder, target_is_directory=True)
        except FileExistsError:  # another job was faster with the same link
            continue
        except OSError:  # a file system without links
            _copy_folder(folder, target)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder so that `target` appears complete or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copying-") as temporary:
        copy = shutil.copytree(source, Path(temporary) / target.name)
        try:
            Path(copy).rename(target)
        except OSError:  # another job was faster
            if not target.is_dir():
                raise


def _write_own_files(home: Path, source: Path) -> None:
    """Write the bundled template and atlas under TemplateFlow names; cheap when they are there.

    Files are made in a folder of this job alone and moved to their names. (A temporary name with
    the process number would not do: jobs in containers often have the same one.)
    """
    folder = f"tpl-{EMBEDDED_TEMPLATE}"
    images = [f"{folder}/{folder}_res-01_{rest}.nii.gz" for rest in ("T1w", "desc-brain_mask")]
    (home / folder).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".making-") as name:
        staging = Path(name)
        if not all((home / image).is_file() for image in images):
            for image, img in zip(images, embedded_images(), strict=True):
                io.save_nifti(img, staging / image)
        io.write_json(staging / folder / "template_description.json", _embedded_description())
        io.write_json(staging / _MARKER, {"source": str(source)})
        data = Path(str(files("bidsapp_brainage"))) / "data" / "atlases"
        for ours, theirs in (
            ("brainagedemo_dseg.nii.gz", f"{folder}_res-01_atlas-BrainageDemo_dseg.nii.gz"),
            ("brainagedemo_dseg.tsv", f"{folder}_atlas-BrainageDemo_dseg.tsv"),
        ):
            shutil.copyfile(data / ours, staging / folder / theirs)
        for made in (path for path in staging.rglob("*") if path.is_file()):
            final = home / made.relative_to(staging)
            if not (final.is_file() and filecmp.cmp(made, final, shallow=False)):
                made.replace(final)


def embedded_images() -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """T1w and brain mask of the embedded template, from nilearn's bundled files (no network).

    Both have 197 x 233 x 189 voxels of 1 mm, RAS, origin (-98, -134, -72) mm; uint8. The T1w is
    skull-stripped (0-255); the mask is where it is not zero, without holes.
    """
    import nibabel as nib
    import numpy as np
    from scipy import ndimage

    # As `nilearn.datasets.load_mni152_template` does, whose import takes more than a second.
    source = io.load_nifti(_package("nilearn") / "datasets" / "data" / _EMBEDDED_FILE)
    brain = np.asanyarray(source.dataobj).astype(np.float32)
    values = np.rint(brain / brain.max() * 255).astype(np.uint8)
    inside = ndimage.binary_fill_holes(values > 0).astype(np.uint8)
    images = []
    for data in (values, inside):
        img = nib.Nifti1Image(data, source.affine)
        img.set_sform(source.affine, code="mni")
        img.set_qform(source.affine, code="mni")
        img.header.set_xyzt_units("mm")
        images.append(img)
    return images[0], images[1]


def _package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _embedded_description() -> dict[str, object]:
    """Content of ``template_description.json`` of the embedded template."""
    return {
        "Identifier": EMBEDDED_TEMPLATE,
        "Name": "ICBM 152 nonlinear symmetric template, version 2009a (skull-stripped, as "
        "bundled with nilearn)",
        "BIDSVersion": "1.1.0",
        "Authors": ["Fonov V", "Evans AC", "Botteron K", "Almli CR", "McKinstry RC", "Collins DL"],
        "License": "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, "
        "Montreal Neurological Institute, McGill University. Permission to use, copy, modify, "
        "and distribute is granted provided that this notice appears in all copies; provided "
        "as is, without warranty.",
        "ReferencesAndLinks": [
            "https://doi.org/10.1016/j.neuroimage.2010.07.033",
            "https://doi.org/10.1016/S1053-8119(09)70884-5",
            "https://nilearn.github.io/stable",
        ],
        "Species": "Homo sapiens",
        "res": {
            "01": {"origin": [-98.0, -134.0, -72.0], "shape": [197, 233, 189], "zooms": [1, 1, 1]}
        },
    }


def get_template(
    name: str, *, cohort: str = "", resolution: int | None = None, home: Path | None = None
) -> TemplateFiles:
    """Find the T1w and the brain mask of a template, through TemplateFlow but never online.

    The files exist, are complete and share one grid. `name` has no ``tpl-``; `cohort` is needed
    for templates that have several; `resolution` is TemplateFlow's ``res`` index, by default 1
    (1 mm in the adult human templates), and 2 where 1 lacks a T1w or a mask; `home` is asked
    instead of ``TEMPLATEFLOW_HOME``.

    Raises
    ------
    ResourceError
        If a file is missing, empty, damaged, or T1w and mask do not fit each other. The message
        holds the command that fetches them, where TemplateFlow has them.
    """
    which = {"cohort": cohort} if cohort else {}
    needed = {"suffix": _NEEDED, **which, "resolution": resolution}
    ask = partial(query_one, name, home=home, needed=needed, **which)
    resolutions = _PREFERRED_RESOLUTIONS if resolution is None else (resolution,)
    misfits = []
    for index in resolutions:
        mask = ask(resolution=index, desc="brain", suffix="mask")
        for desc in (None, "brain") if mask else ():
            t1w = ask(resolution=index, desc=desc, suffix="T1w")
            if t1w is None:
                continue
            files = _fitting(name, t1w, mask, home)
            if files is not None:
                return replace(files, cohort=cohort)
            misfits.append(str(t1w))
    grids = " or ".join(f"res-{index}" for index in resolutions if index)
    wanted = f"cohort-{cohort}, {grids}" if cohort else grids
    note = f" (found, but not on the grid of its brain mask: {', '.join(misfits)})"
    raise ResourceError(
        f"Template {name} ({wanted}, T1w and brain mask) is not in TEMPLATEFLOW_HOME "
        f"({user_home(home)}){note if misfits else ''}. "
        f"{fetch_hint(name, needed, home=home)}"
    )


def find_template(label: str) -> TemplateFiles | str:
    """Files of a template as file names call it (``MNIPediatricAsym+5``), or why there are none.

    Unlike :func:`get_template` it is for a template that can be done without.
    """
    name, _, cohort = label.partition("+")
    try:
        return get_template(name, cohort=cohort)
    except (ResourceError, UsageError) as error:
        return str(error)


def joint_transforms(target: str, source: str) -> tuple[Path, ...]:
    """Transforms of TemplateFlow that resample template `source` onto `target`, and back.

    Empty unless both are there (``tpl-TARGET_from-SOURCE_mode-image_xfm.h5`` and the other way).
    """
    home = Path(os.environ["TEMPLATEFLOW_HOME"])
    pair = tuple(
        home / f"tpl-{to}" / f"tpl-{to}_from-{start}_mode-image_xfm.h5"
        for to, start in ((target, source), (source, target))
    )
    there = all(path.is_file() and path.stat().st_size > 0 for path in pair)
    return pair if there else ()


def templates_of(
    spaces: Iterable[tuple[str, str, int | None]], *, besides: str
) -> tuple[TemplateFiles, ...]:
    """Find templates by name, cohort and resolution, each once, without the one named `besides`.

    Raises
    ------
    UsageError
        A template is asked for in two resolutions, or neither on this machine nor offered by
        TemplateFlow.
    ResourceError
        As :func:`get_template`.
    """
    resolutions: dict[tuple[str, str], int | None] = {}
    for name, cohort, resolution in spaces:
        if resolutions.setdefault((name, cohort), resolution) != resolution:
            raise UsageError(f"`output_spaces`: {name} stands there in two resolutions: give one.")
    return tuple(
        _extra_template(name, cohort, resolution)
        for (name, cohort), resolution in resolutions.items()
        if name != besides
    )


def _extra_template(name: str, cohort: str, resolution: int | None) -> TemplateFiles:
    query = {"suffix": _NEEDED, "cohort": cohort or None, "resolution": resolution}
    try:
        return get_template(name, cohort=cohort, resolution=resolution)
    except ResourceError as error:
        if _offers(offered().get(name, ()), query):
            raise
        raise UsageError(f"`output_spaces`: {error}") from error


def fetch_hint(name: str, entities: Mapping[str, object], *, home: Path | None = None) -> str:
    """Say how to get files of template `name`: the command that fetches them, if one can."""
    known = offered()
    if not _offers(known.get(name, ()), entities):
        what = f"{name} ({_plain(entities)})" if name in known else name
        close = difflib.get_close_matches(name, known, n=3)
        similar = f" Did you mean {' or '.join(close)}?" if close and name not in known else ""
        return (
            f"TemplateFlow does not offer {what}.{similar} Correct the name, or set "
            "TEMPLATEFLOW_HOME to a folder that holds the files under TemplateFlow's names."
        )
    return (
        f"On a machine with network run `TEMPLATEFLOW_HOME={user_home(home)} templateflow get "
        f"{name}{_as_options(entities)}`, or set TEMPLATEFLOW_HOME to a folder that holds the "
        "template."
    )


@cache
def offered() -> Mapping[str, tuple[Mapping[str, str], ...]]:
    """Templates that TemplateFlow has: the entities of every file, from the list in its package."""
    from zipfile import ZipFile

    from templateflow.conf import load_data

    found: dict[str, list[Mapping[str, str]]] = {}
    with ZipFile(load_data("templateflow-skel.zip")) as skeleton:
        for path in map(PurePosixPath, skeleton.namelist()):
            stem = path.name.partition(".")[0]
            pairs = re.findall(r"(?:^|_)([a-z]+)-0*([a-zA-Z0-9+]+)", stem)
            entities = {**dict(pairs), "suffix": stem.rpartition("_")[2]}
            found.setdefault(path.parts[0].removeprefix("tpl-"), []).append(entities)
    return {name: tuple(files) for name, files in found.items()}


def _offers(files: Iterable[Mapping[str, str]], entities: Mapping[str, object]) -> bool:
    """Whether there are files for a query, of every suffix that it names."""
    wanted = {key: _values(value) for key, value in entities.items() if key in _SHORT}
    suffixes = set(wanted.pop("suffix", ()))
    found = {
        file["suffix"]
        for file in files
        if all(file.get(_SHORT[key]) in values for key, values in wanted.items() if values)
    }
    return bool(found) and found >= suffixes


def _values(wanted: object) -> tuple[str, ...]:
    """Values of an entity in a query as texts, without leading zeros; None is none."""
    values = wanted if isinstance(wanted, (list, tuple)) else () if wanted is None else (wanted,)
    return tuple(str(value).lstrip("0") for value in values)


def query_one(
    name: str,
    *,
    home: Path | None = None,
    needed: Mapping[str, object] | None = None,
    **entities: object,
) -> Path | None:
    """One image or table of a template that is on this machine; None if there is no such file.

    `needed` is the query of all files that are fetched together with it.

    Raises
    ------
    ResourceError
        If the file is known but was not fetched (an empty stub, a link without target), or the
        query is ambiguous.
    """
    entities.setdefault("extension", _IMAGE_EXTENSIONS)
    matches = _list_files(name, home, **entities)
    if not matches:
        return None
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches[:4])
        remedy = f"Keep one of them in TEMPLATEFLOW_HOME ({user_home(home)})."
        if "_cohort-" in names and not entities.get("cohort"):
            remedy = f"Name a cohort, for example {name}:cohort-1."
        raise ResourceError(
            f"Template {name} has {len(matches)} files for ({_plain(entities)}): {names}. {remedy}"
        )
    (match,) = matches
    if not match.is_file() or match.stat().st_size == 0:
        raise ResourceError(
            f"{match} is only a place holder: it was not fetched. "
            f"{fetch_hint(name, needed or entities, home=home)}"
        )
    return match


def _plain(entities: Mapping[str, object]) -> str:
    """A query in words, for messages."""
    shown = {key: " and ".join(_values(value)) for key, value in entities.items() if key in _SHORT}
    return ", ".join(f"{key}: {value}" for key, value in shown.items() if value)


def _as_options(entities: Mapping[str, object]) -> str:
    """A query as options of ``templateflow get``, each after a space."""
    options = ""
    for key in _SHORT:
        options += "".join(f" --{key} {value}" for value in _values(entities.get(key)))
    return options


def _list_files(name: str, home: Path | None, **entities: object) -> list[Path]:
    """What ``templateflow.api.ls`` finds in `home`, or in what ``TEMPLATEFLOW_HOME`` names *now*.

    Its ``get`` would go online for what was not fetched, in the middle of a run; its ``ls`` indexes
    all templates first, which takes minutes where a machine is busy and the home is full, and keeps
    the home that it saw when it was first imported.
    """
    wanted = home or os.environ.get("TEMPLATEFLOW_HOME")
    if wanted is None:
        from templateflow import conf

        wanted = conf.TF_HOME
    folder = Path(wanted).absolute() / f"tpl-{name}"
    if not folder.is_dir():
        return []
    found = _layout(folder).get(template=name, return_type="filename", **entities)
    return [Path(path) for path in found]


@lru_cache(maxsize=8)
def _layout(folder: Path) -> BIDSLayout:
    """TemplateFlow's index of one template (it is built once)."""
    from bids.layout import BIDSLayoutIndexer
    from templateflow.conf.bids import Layout

    ignored = [re.compile(r"scripts/"), re.compile(r"/\.")]
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignored)
    return Layout(folder, validate=False, config="templateflow", indexer=indexer)


def _fitting(name: str, t1w: Path, mask: Path | None, home: Path | None) -> TemplateFiles | None:
    """Read both images completely; None unless they share one three-dimensional grid."""
    import numpy as np

    if mask is None:
        return None
    images = [read_resource(path, name, home=home) for path in (t1w, mask)]
    values, inside = (np.asanyarray(img.dataobj) for img in images)
    same_grid = values.shape == inside.shape and np.allclose(
        images[0].affine, images[1].affine, atol=1e-3
    )
    if values.ndim != 3 or not same_grid or not inside.any():
        return None
    outside = np.count_nonzero(values[inside == 0]) / np.count_nonzero(inside)
    return TemplateFiles(name, t1w, mask, skull_stripped=bool(outside < _MAX_OUTSIDE_FRACTION))


def read_resource(path: Path, name: str, *, home: Path | None = None) -> nib.Nifti1Image:
    """Load an image of template `name`; a damaged file is a `ResourceError` with the remedy."""
    try:
        return io.load_nifti(path)
    except DataError as error:
        raise ResourceError(
            f"{error} It belongs to template {name}: delete it. {fetch_hint(name, {}, home=home)}"
        ) from error
