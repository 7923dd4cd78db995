"""Atlases by name or by path; what an atlas needs stands in its card (JSON), not in code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bidsapp_brainage import io
from bidsapp_brainage.atlas.tables import read_label_table
from bidsapp_brainage.atlas.templates import fetch_hint, query_one, read_resource
from bidsapp_brainage.errors import DataError, ResourceError, UsageError

if TYPE_CHECKING:
    import nibabel as nib
    import pandas as pd
    from numpy.typing import NDArray

_IMAGE_SUFFIXES = (".nii.gz", ".nii")
_LABEL_LIMIT = 100_000  # more means that an intensity image was taken for an atlas
_MIN_INSIDE = 0.8  # of the labelled voxels must lie in the template's brain
_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Atlas:
    """An atlas that is ready for use: image and table exist and fit each other.

    `name`, `seg` (which realisation) and `scale` (how many regions) are values of entities in
    output names. `dseg` is the label image (0 is background) in the space of the TemplateFlow
    `template`, `table` what :func:`~.tables.read_label_table` gives, and `description` the content
    of ``atlas-<name>_description.json``: Name, License, ReferencesAndLinks, ...
    """

    name: str
    seg: str | None
    scale: int | None
    template: str
    dseg: Path
    table: pd.DataFrame
    description: dict[str, object] = field(default_factory=dict)

    @property
    def entities(self) -> dict[str, str | None]:
        """Entities that name the atlas in output names."""
        scale = None if self.scale is None else str(self.scale)
        return {"atlas": self.name, "seg": self.seg, "scale": scale}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the label image and the table."""
        content = self.dseg.read_bytes() + self.table.to_csv(index=False).encode()
        return hashlib.sha256(content).hexdigest()

    def write_table(self, folder: Path) -> Path:
        """Write the label table where the nodes can read it; its content is in its name."""
        digest = hashlib.sha256(self.table.to_csv(index=False).encode()).hexdigest()[:16]
        path = folder / f"{digest}_dseg.tsv"
        io.write_tsv(path, self.table)
        return path

    @property
    def label(self) -> str:
        """Value of the ``atlas-`` entity."""
        return self.name


def list_atlases(atlases_dir: Path | None = None) -> dict[str, str]:
    """Names that `load_atlas` knows, each with one line about it."""
    cards = {**_cards(_card_folder()), **(_cards(atlases_dir) if atlases_dir else {})}
    return {name: str(card.get("summary", "")) for name, card in sorted(cards.items())}


def load_atlas(spec: str, *, atlases_dir: Path | None = None, home: Path | None = None) -> Atlas:
    """Find an atlas, read its table, and check that image, table and template fit.

    `spec` is the name of an atlas card (``Schaefer2018-100``, ``BrainageDemo``, see `list_atlases`;
    upper and lower case are alike), the ``atlas-`` entity of a file in `atlases_dir` (the user's
    folder of atlases and cards, searched with its sub-folders), or the path of a ``*_dseg.nii.gz``
    with a ``.tsv`` of the same name (or inherited, as in BIDS). `home` is the TemplateFlow home; by
    default ``TEMPLATEFLOW_HOME``.

    Raises
    ------
    UsageError
        If there is no atlas of that name or path.
    ResourceError
        If the atlas is known but its files are not there; the message says how to get them.
    DataError
        If there is no label table, a label of the image is not in it, or the image is no label
        image in the space that it names.
    """
    if spec.endswith(_IMAGE_SUFFIXES) or Path(spec).is_file():
        atlas = _from_path(Path(spec), {})
    else:
        card = _find_card(spec, atlases_dir)
        if card is None:
            atlas = _from_path(_search(spec, [f"*atlas-{spec}*_dseg.nii*"], atlases_dir, ""), {})
        elif card["source"] == "templateflow":
            atlas = _from_templateflow(card, home)
        else:
            folder = Path(card["folder"]) if card.get("folder") else atlases_dir
            path = _search(spec, card["files"], folder, str(card.get("remedy", "")))
            atlas = _from_path(path, card)
    _check(atlas, home)
    return atlas


def _card_folder() -> Path:
    return Path(str(files("bidsapp_brainage"))) / "data" / "atlases"


def _cards(folder: Path) -> dict[str, dict[str, Any]]:
    """Atlas cards of a folder by name; a user's card may leave its source out."""
    cards = {}
    for path in sorted(folder.glob("*.json")):
        try:
            card = io.parse_json(path)
        except (ValueError, OSError) as error:
            raise DataError(f"{path} is not JSON ({error}): correct or remove it.") from error
        if isinstance(card, dict) and "schema_version" in card and "name" in card:
            card.setdefault("source", "user")
            if card["source"] == "user" and folder != _card_folder():
                card["folder"] = str(folder)
            cards[str(card["name"])] = card
    return cards


def _find_card(spec: str, atlases_dir: Path | None) -> dict[str, Any] | None:
    """The card of an atlas; the user's folder comes first."""
    for folder in (atlases_dir, _card_folder()):
        if folder is None:
            continue
        for name, card in _cards(Path(folder)).items():
            if name.lower() == spec.lower():
                return card
    return None


def _search(spec: str, patterns: list[str], folder: Path | None, remedy: str) -> Path:
    """The one label image in the user's folder that fits."""
    if folder is None and remedy:
        raise ResourceError(f"Atlas {spec} has to come from you. {remedy}")
    candidates = []
    if folder is not None:
        images = [path for path in Path(folder).rglob("*.nii*") if path.is_file()]
        candidates = sorted(path for path in images if any(path.match(p) for p in patterns))
    if len(candidates) > 1:
        names = ", ".join(str(path) for path in candidates[:4])
        raise UsageError(f"`atlas` {spec} could be any of {names}: pass the path of one of them.")
    if candidates:
        return candidates[0]
    if remedy:
        raise ResourceError(f"Atlas {spec} is not in `atlases_dir` {folder}. {remedy}")
    where = f" and nothing in `atlases_dir` {folder} is called *atlas-{spec}*_dseg.nii.gz"
    raise UsageError(
        f"There is no atlas {spec!r}{where if folder else ''}. Known: "
        f"{', '.join(list_atlases(folder))}; or pass the path of a *_dseg.nii.gz with its .tsv."
    )


def _from_templateflow(card: Mapping[str, Any], home: Path | None) -> Atlas:
    """Image and table of a card, through ``templateflow.api.get``."""
    template, table_rules = card["template"], card["table"]
    image = query_one(template, home=home, **card["image"])
    # Label tables carry no resolution, so the query must not name one.
    query = {"extension": ".tsv", **table_rules["query"]}
    table = query_one(table_rules.get("template", template), home=home, **query)
    for path, what in ((image, "image"), (table, "label table")):
        if path is None:
            atlas = card["image"]["atlas"]
            raise ResourceError(
                f"The {what} of atlas {card['name']} is not in TEMPLATEFLOW_HOME. "
                f"{fetch_hint(template, {'atlas': atlas, 'suffix': 'dseg'}, home=home)}"
            )
    assert image is not None and table is not None
    read_resource(image, template, home=home)
    return Atlas(
        name=card["label"],
        seg=card.get("seg"),
        scale=card.get("scale"),
        template=template,
        dseg=image,
        table=read_label_table(table, table_rules),
        description=dict(card["description"]),
    )


def _from_path(path: Path, card: Mapping[str, Any]) -> Atlas:
    """An atlas from a file of the user; `card` may say what its name does not."""
    if not path.is_file():
        raise UsageError(f"The atlas {path} does not exist: check `atlas`.")
    entities = _entities(path)
    table = read_label_table(_find_table(path), card.get("table"))
    sidecar = _sidecar(path)
    template = card.get("template") or entities.get("tpl") or entities.get("space")
    template = template or sidecar.get("SpatialReference")
    if not template or not re.fullmatch("[a-zA-Z0-9]+", str(template)):
        raise DataError(
            f"{path} does not say in which template's space it is: call it "
            f"tpl-<Template>_atlas-<Name>_dseg.nii.gz, or write a {_stem(path)}.json beside it "
            'with {"SpatialReference": "<Template>"}, for example MNI152NLin2009cAsym.'
        )
    name = card.get("label") or entities.get("atlas") or _alphanumeric(_stem(path))
    scale = str(card.get("scale") or entities.get("scale") or len(table))
    return Atlas(
        name=name,
        seg=card.get("seg") or entities.get("seg"),
        scale=int(scale) if scale.isdigit() else len(table),
        template=str(template),
        dseg=path,
        table=table,
        description=dict(card.get("description", {"Name": name, "License": "Unknown"})),
    )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _alphanumeric(text: str) -> str:
    return re.sub("[^a-zA-Z0-9]", "", text) or "custom"


def _entities(path: Path) -> dict[str, str]:
    """Key-value pairs of a BIDS-like file name."""
    return dict(re.findall(r"(?:^|_)([a-z]+)-([a-zA-Z0-9+]+)", _stem(path)))


def _sidecar(path: Path) -> dict[str, object]:
    """Content of the JSON file beside an image; empty without one."""
    sidecar = path.with_name(f"{_stem(path)}.json")
    if not sidecar.is_file():
        return {}
    try:
        content = io.parse_json(sidecar)
    except ValueError as error:
        raise DataError(f"{sidecar} is not JSON ({error}): correct it.") from error
    return content if isinstance(content, dict) else {}


def _find_table(path: Path) -> Path:
    """Label table of an image: same stem, or the most specific one that it inherits.

    As in BIDS, a table in the same folder or above applies when the image has all its entities.
    """
    same = path.with_name(f"{_stem(path)}.tsv")
    if same.is_file():
        return same
    own = _entities(path)
    for folder in list(path.absolute().parents)[:3]:
        fitting = [
            table
            for table in sorted(folder.glob("*_dseg.tsv"))
            if _entities(table).items() <= own.items() and "atlas" in _entities(table)
        ]
        if fitting:
            return max(fitting, key=lambda table: len(_entities(table)))
    raise DataError(
        f"{path} has no label table: write {same.name} beside it, tab-separated, with the columns "
        "index and name (one line per label)."
    )


def _check(atlas: Atlas, home: Path | None) -> None:
    """Label image, table and template must belong together; `DataError` if not."""
    img = io.load_nifti(atlas.dseg)
    labels = _label_values(img, atlas.dseg)
    values = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
    if values.size == 0:
        raise DataError(f"{atlas.dseg} has no label above 0: it is no atlas.")
    unnamed = sorted(set(values.tolist()) - set(atlas.table["index"].tolist()))
    if unnamed:
        shown = ", ".join(str(value) for value in unnamed[:8])
        raise DataError(
            f"{atlas.dseg} has {len(unnamed)} label(s) that its table does not name ({shown}): "
            "add them to the table, or set them to 0 in the image."
        )
    _check_sides(atlas, img, labels)
    _check_space(atlas, img, labels, home)


def _label_values(img: nib.Nifti1Image, path: Path) -> NDArray[np.int32]:
    """Voxels of a label image as integers, three-dimensional."""
    data = np.asanyarray(img.dataobj)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise DataError(
            f"{path} has {data.ndim} dimensions (shape {data.shape}): an atlas is one "
            "three-dimensional label image; probability maps have to be thresholded first."
        )
    if data.dtype.kind == "f" and not (np.isfinite(data).all() and (np.rint(data) == data).all()):
        raise DataError(f"{path} holds values that are not whole numbers: it is no label image.")
    if int(data.min()) < 0 or int(data.max()) > _LABEL_LIMIT:
        raise DataError(f"{path} holds labels below 0 or above {_LABEL_LIMIT}: no label image.")
    return data.astype(np.int32)


def _check_sides(atlas: Atlas, img: nib.Nifti1Image, labels: NDArray[np.int32]) -> None:
    """Left regions must lie left of right regions; a wrong affine exchanges them."""
    centre = _mean_x(img, labels)
    side = atlas.table.set_index("index")["hemisphere"]
    means = {
        name: np.mean([centre[i] for i in side.index[side == name] if i in centre] or [np.nan])
        for name in ("L", "R")
    }
    if means["L"] > means["R"]:
        raise DataError(
            f"{atlas.dseg}: regions that the table calls left lie on the right "
            f"(mean x {means['L']:.0f} mm against {means['R']:.0f} mm). The image's affine or the "
            "table has left and right exchanged; correct one of them."
        )


def _mean_x(img: nib.Nifti1Image, labels: NDArray[np.int32]) -> dict[int, float]:
    """Mean x (mm, RAS) of each label."""
    voxels = np.argwhere(labels > 0)
    x = voxels @ img.affine[0, :3] + img.affine[0, 3]
    values = labels[labels > 0]
    sums = np.bincount(values, weights=x)
    counts = np.bincount(values)
    return {int(i): float(sums[i] / counts[i]) for i in np.flatnonzero(counts)}


def _check_space(
    atlas: Atlas, img: nib.Nifti1Image, labels: NDArray[np.int32], home: Path | None
) -> None:
    """Most labelled voxels must lie in the brain of the template that the atlas names.

    Any grid will do as long as its affine is right. Where the template's mask is not at hand the
    check waits for the workflow, which cannot go on without that template anyway.
    """
    from scipy import ndimage

    try:
        path = query_one(atlas.template, home=home, resolution=1, desc="brain", suffix="mask")
    except ResourceError:
        return
    if path is None:
        return
    mask_img = read_resource(path, atlas.template, home=home)
    spacing = np.sqrt((mask_img.affine[:3, :3] ** 2).sum(axis=0))
    step = max(1, int(2 / spacing.min()))  # 2 mm are precise enough, and quicker than 1 mm
    affine = mask_img.affine @ np.diag([step, step, step, 1.0])
    spacing = spacing * step
    outside = np.asanyarray(mask_img.dataobj)[::step, ::step, ::step] == 0
    near = ndimage.distance_transform_edt(outside, sampling=spacing) <= _MARGIN_MM
    voxels = np.argwhere(labels > 0)[::7]
    to_mask = np.linalg.inv(affine) @ img.affine
    there = np.rint(voxels @ to_mask[:3, :3].T + to_mask[:3, 3]).astype(int)
    within = ((there >= 0) & (there < near.shape)).all(axis=1)
    inside = near[tuple(there[within].T)].sum() / len(voxels)
    if inside < _MIN_INSIDE:
        raise DataError(
            f"{atlas.dseg}: only {inside:.0%} of its labelled voxels lie in the brain of "
            f"{atlas.template}. The image is in another space or its affine is wrong; correct it, "
            "or name the template that it belongs to."
        )
