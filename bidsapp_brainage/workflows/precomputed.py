"""What earlier runs have computed already (``--derivatives``) and need not be computed again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage import io
from bidsapp_brainage.bids.dataset import APP_NAME
from bidsapp_brainage.bids.names import bids_uri, output_path, parse_name, sidecar_path

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.templates import TemplateFiles

Entities = tuple[tuple[str, str], ...]

#: What may be missing in the name of a file that several scans share, the least telling first.
_OPTIONAL = ("run", "echo", "part", "rec", "ce", "acq", "ses")
#: fMRIPrep's own space, which is taken where there is none of the model's template.
_USUAL_TEMPLATE = "MNI152NLin2009cAsym"
_TISSUES = ("GM", "WM", "CSF")
_SESSIONWISE = (
    "fMRIPrep makes one image per session with `--subject-anatomical-reference sessionwise`."
)
#: How BIDS calls the program where people drew or corrected files.
_BY_HAND = "Manual"


@dataclass(frozen=True)
class Precomputed:
    """Files of one scan that were computed before; None where there is none.

    Where another program made transforms, an age comes from the app's own image, affine and
    mask: the model learned from these. Then there is neither `t1w` nor `mask` nor `affine`.

    Attributes
    ----------
    t1w, mask : Path or None
        Bias-corrected T1w and brain mask, in the place of the app's own.
    compared_mask : Path or None
        Brain mask that is only compared with the app's own.
    affine : Path or None
        Text matrix, as this app writes it, in the place of the app's own.
    forward, inverse : Path or None
        Transforms to and from a template; used only as a pair. With `affine` they are the app's.
    template : str
        The template of that pair, as in names of files (``MNIPediatricAsym+5``).
    pairs : mapping of str to tuple of Path
        All such pairs, by template.
    own_template : TemplateFiles or None
        Its files, where it is not the model's.
    joint : tuple of Path
        Transforms that resample it onto the model's template and back, where they are known.
    orig : Path or None
        Linear transform from the scan to the image that all other files lie on, the mean of several
        scans; then the image of the scan itself is used, and no T1w stands here.
    reference : Path or None
        T1w on whose grid mask and tissue lie.
    tissues : mapping of str to Path
        Probabilities by ``GM WM CSF``; empty unless all are there.
    dseg : Path or None
        Tissues as classes.
    dataset : str
        Name of the dataset, as in ``--derivatives NAME=PATH``.
    root : Path
        Its folder.
    software : str
        Program and version that wrote it.
    note : str
        What the user should know.
    """

    t1w: Path | None = None
    mask: Path | None = None
    compared_mask: Path | None = None
    affine: Path | None = None
    forward: Path | None = None
    inverse: Path | None = None
    template: str = ""
    pairs: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    own_template: TemplateFiles | None = None
    joint: tuple[Path, ...] = ()
    orig: Path | None = None
    reference: Path | None = None
    tissues: Mapping[str, Path] = field(default_factory=dict)
    dseg: Path | None = None
    dataset: str = ""
    root: Path = Path()
    software: str = ""
    note: str = ""

    @property
    def has_warp(self) -> bool:
        """Whether both directions of the nonlinear transform are there."""
        return self.forward is not None and self.inverse is not None

    @property
    def is_foreign(self) -> bool:
        """Whether the transforms are another program's, beside which the app makes its own."""
        return self.has_warp and self.affine is None

    @property
    def kind(self) -> tuple[object, ...]:
        """What the workflow and its methods text depend on."""
        files = (self.t1w, self.mask, self.compared_mask, self.affine, self.orig)
        return (*map(bool, files), self.has_warp, self.template, *self.pairs, self.software)

    @property
    def is_used(self) -> bool:
        """Whether anything is there that replaces the app's own, or is compared with it."""
        return any((self.t1w, self.mask, self.compared_mask, self.affine, self.has_warp))

    @property
    def is_compared(self) -> bool:
        """Whether there is something that the app's own can be compared with."""
        return any((self.mask, self.compared_mask, self.tissues, self.dseg, self.is_foreign))

    @property
    def compared(self) -> dict[str, Any]:
        """What :class:`..interfaces.reuse.CompareGiven` reads of tissue."""
        if self.tissues:
            return {"tissues": {name: str(path) for name, path in self.tissues.items()}}
        if self.dseg is None or self.reference is None:
            return {}
        return {"dseg": str(self.dseg), "own_t1w": str(self.reference)}

    @property
    def by(self) -> str:
        """Who made the files, for the methods text."""
        return f" by *{self.software}*" if self.software else ""

    def uris(self, *files: Path | None) -> list[str]:
        """BIDS URIs of those files that are there."""
        return [bids_uri(path, self.root, self.dataset) for path in files if path is not None]

    def to(self, template: str) -> Precomputed | None:
        """The same with the transforms to another template, if there are some."""
        if template not in self.pairs:
            return None
        forward, inverse = self.pairs[template]
        return replace(
            self, forward=forward, inverse=inverse, template=template, own_template=None, joint=()
        )

    def without_warp(self, note: str) -> Precomputed:
        """The same, so that the image is registered anew, with one more note."""
        return replace(self.noted(note), forward=None, inverse=None, template="")

    def noted(self, note: str) -> Precomputed:
        """The same with one more note."""
        return replace(self, note=" ".join(filter(None, (self.note, note))))


def collect_derivatives(
    datasets: Sequence[tuple[str, Path]], entities: Entities, template: str
) -> Precomputed:
    """Find what the derivatives datasets hold for one scan.

    fMRIPrep and sMRIPrep name their files with fewer entities than the scan has (one T1w
    reference for all runs or sessions), so names with ever fewer entities are tried; all files
    come from one dataset and one such name, because they share one space.

    Parameters
    ----------
    datasets : sequence of (str, Path)
        Name and folder of each derivatives dataset, the most wanted first.
    entities : tuple of (str, str)
        Entities of the scan.
    template : str
        Name of the model's template.
    """
    for name, root in datasets:
        for labels in _fewer(entities):
            files = _search(root, labels, template)
            if files.is_used:
                files = replace(files, dataset=name, root=root, software=_software(root))
                return _of_scan(_in_place(files), entities, labels)
    return Precomputed()


def completed(
    given: Mapping[str, Precomputed],
    template: str,
    find: Callable[[str], TemplateFiles | str],
    joint: Callable[[str], tuple[Path, ...]],
) -> dict[str, Precomputed]:
    """Add templates; transforms to templates that are not here are left out.

    Parameters
    ----------
    given : mapping of str to Precomputed
        By scan.
    template : str
        Name of the model's template.
    find : callable
        From the name of a template to its files, or to a sentence why they cannot be used.
    joint : callable
        From the name of a template to the transforms between it and the model's that are known.
    """
    names = {files.template for files in given.values()} - {"", template}
    found = {name: find(name) for name in names}
    known = {name: joint(name) for name in names}

    def complete(files: Precomputed) -> Precomputed:
        own = found.get(files.template)
        if own is None:
            return files
        if isinstance(own, str):
            return files.without_warp(f"Transforms are not used: {own}")
        return replace(files, own_template=own, joint=known[files.template])

    return {scan: complete(files) for scan, files in given.items()}


def _fewer(entities: Entities) -> Iterator[Entities]:
    """Entities of the scan, then with ever more left out, in every combination."""
    optional = [key for key in _OPTIONAL if key in dict(entities)]
    for count in range(len(optional) + 1):
        for left_out in itertools.combinations(optional, count):
            yield tuple(pair for pair in entities if pair[0] not in left_out)


def _search(root: Path, entities: Entities, template: str) -> Precomputed:
    """Files that exist under the names made from `entities`."""
    to_model = {"from_": "T1w", "to": template, "mode": "image"}
    tissues = {
        name: path
        for name in _TISSUES
        if (path := _there(output_path(root, "probseg", entities, label=name)))
    }
    t1w = output_path(root, "t1w_preproc", entities)
    pairs = _pairs(t1w.parent, entities)
    return Precomputed(
        t1w=_there(t1w),
        mask=_there(output_path(root, "mask", entities)),
        affine=_there(output_path(root, "affine", entities, **to_model)),
        **_chosen(pairs, template),
        pairs=pairs,
        reference=_there(t1w),
        tissues=tissues if len(tissues) == len(_TISSUES) else {},
        dseg=_there(output_path(root, "dseg", entities)),
    )


def _in_place(files: Precomputed) -> Precomputed:
    """Leave what takes the place of the app's own image, mask and affine, and tell it.

    The model learned from what this app makes, and an image and a mask of another program move the
    age by years. So they are only compared, unless somebody chose them: made by hand, or in a
    folder that names no program and holds no transforms, or beside an affine in the app's form.
    """
    by_program = bool(files.software) and not files.software.startswith((APP_NAME, _BY_HAND))
    if files.affine is None and (files.has_warp or by_program):
        kept = replace(files, t1w=None, mask=None, compared_mask=files.mask)
        if files.has_warp:
            return kept
        return kept.noted(
            f"{files.software} made what lies in {files.dataset}, so image and mask are at most "
            "compared with the app's own. To have them used as they are, give a copy in a folder "
            "whose dataset_description.json has no GeneratedBy."
        )
    if files.software.startswith(APP_NAME):
        return files
    return files.noted(
        f"Image, mask or affine in {files.dataset} take the place of the app's own. The age may "
        "differ by years from that of a run without them: do not mix the two in one analysis."
    )


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _transforms(
    folder: Path, entities: Entities, extension: str
) -> Iterator[tuple[tuple[str, str], Path]]:
    """Transforms of images with exactly these entities: from where to where, and the file."""
    for path in sorted(folder.glob(f"*_mode-image_xfm{extension}")):
        name = parse_name(path)
        ends = (name.pop("from", ""), name.pop("to", ""))
        if name == {**dict(entities), "mode": "image", "suffix": "xfm", "extension": extension}:
            yield ends, path


def _pairs(folder: Path, entities: Entities) -> dict[str, tuple[Path, Path]]:
    """Nonlinear transforms to and from each template for which there are both."""
    found = dict(_transforms(folder, entities, ".h5"))
    return {
        end: (path, found[end, "T1w"])
        for (start, end), path in found.items()
        if start == "T1w" and (end, "T1w") in found
    }


def _chosen(pairs: Mapping[str, tuple[Path, Path]], template: str) -> dict[str, Any]:
    """The pair to the model's template if there is one, else to fMRIPrep's own, else any."""
    for name in (template, _USUAL_TEMPLATE, *sorted(pairs)):
        if name in pairs:
            forward, inverse = pairs[name]
            return {"forward": forward, "inverse": inverse, "template": name}
    return {}


def _of_scan(files: Precomputed, entities: Entities, labels: Entities) -> Precomputed:
    """Bring what was found about the mean of several images to the image of the scan itself."""
    shared = [key for key, _ in entities if key not in dict(labels)]
    if not shared or files.reference is None or _n_sources(files) == 1:
        return files
    folder = output_path(files.root, "t1w_preproc", entities).parent
    orig = dict(_transforms(folder, entities, ".txt")).get(("orig", "T1w"))
    if orig is not None:
        return replace(files, t1w=None, affine=None, orig=orig)
    if "ses" in shared or files.t1w is None:
        several = "sessions" if "ses" in shared else "images"
        remedy = f" {_SESSIONWISE}" if "ses" in shared else ""
        return Precomputed(
            note=f"{files.reference.name} is the mean of several {several}, and there is no "
            "from-orig_to-T1w transform of this one beside it, so all is computed from the image "
            f"itself.{remedy}"
        )
    return files.noted(
        f"{files.t1w.name} stands for all {shared[0]}- images: they get the same age."
    )


def _n_sources(files: Precomputed) -> int:
    """Of how many images the T1w was made, as sidecars tell; 0 if they do not."""
    told = (("Sources", files.t1w), ("RawSources", files.mask or files.compared_mask))
    for key, path in told:
        listed = io.read_json(sidecar_path(path)).get(key) if path else None
        if isinstance(listed, list):
            return len(listed)
    return 0


def _software(root: Path) -> str:
    """Program and version that wrote a dataset, as its description tells."""
    described = io.read_json(root / "dataset_description.json")
    listed = described.get("GeneratedBy")
    first = listed[0] if isinstance(listed, list) and listed else None
    facts = first if isinstance(first, dict) else described.get("PipelineDescription")
    if not isinstance(facts, dict):
        return ""
    return " ".join(str(facts[key]) for key in ("Name", "Version") if facts.get(key))
