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


@dataclass(frozen=True)
class Precomputed:
    """Files of one scan that replace computing; None where there is none.

    Attributes
    ----------
    t1w, mask : Path or None
        Bias-corrected T1w and brain mask.
    compared_mask : Path or None
        Brain mask that is only compared with the app's own.
    affine : Path or None
        Text matrix, as this app writes it.
    forward, inverse : Path or None
        Transforms to and from a template; used only as a pair.
    template : str
        The template of that pair, as in names of files (``MNIPediatricAsym+5``).
    own_template : TemplateFiles or None
        Its files, where it is not the model's.
    joint : tuple of Path
        Transforms that resample it onto the model's template and back, where they are known.
    orig : Path or None
        Linear transform from the scan to the mean of several scans that all other files lie on;
        then the image of the scan itself is used, and no T1w stands here.
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
    def kind(self) -> tuple[object, ...]:
        """What the workflow and its methods text depend on."""
        files = (self.t1w, self.mask, self.compared_mask, self.affine, self.orig)
        return (*map(bool, files), self.has_warp, self.template, self.software)

    @property
    def is_used(self) -> bool:
        """Whether anything is there that need not be computed."""
        return any((self.t1w, self.mask, self.affine, self.has_warp))

    @property
    def is_compared(self) -> bool:
        """Whether there is a mask or tissue that the app's own can be compared with."""
        return any((self.mask, self.compared_mask, self.tissues, self.dseg))

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

    def uris(self) -> list[str]:
        """BIDS URI of the T1w that replaces the raw one; empty if none does."""
        return [] if self.t1w is None else [bids_uri(self.t1w, self.root, self.dataset)]

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
                return _of_scan(replace(files, dataset=name, root=root), entities, labels)
    return Precomputed()


def completed(
    given: Mapping[str, Precomputed],
    template: str,
    find: Callable[[str], TemplateFiles | str],
    joint: Callable[[str], tuple[Path, ...]],
) -> dict[str, Precomputed]:
    """Add programs and templates; transforms to templates that are not here are left out.

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
    programs = {files.root: _software(files.root) for files in given.values() if files.is_used}

    def complete(files: Precomputed) -> Precomputed:
        files = replace(files, software=programs.get(files.root, ""))
        if files.software and not files.software.startswith(APP_NAME):
            files = files.noted(
                f"{files.software} preprocessed what is used here. The age may differ by years "
                "from that of a run without --derivatives: do not mix the two in one analysis."
            )
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
    affine = _there(output_path(root, "affine", entities, **to_model))
    warps = _warps(t1w.parent, entities, template)
    mask = _there(output_path(root, "mask", entities))
    # Only this app writes an affine beside them: the model did not learn with such a mask.
    of_fmriprep = bool(warps) and affine is None
    return Precomputed(
        t1w=_there(t1w),
        mask=None if of_fmriprep else mask,
        compared_mask=mask if of_fmriprep else None,
        affine=affine,
        **warps,
        reference=_there(t1w),
        tissues=tissues if len(tissues) == len(_TISSUES) else {},
        dseg=_there(output_path(root, "dseg", entities)),
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


def _warps(folder: Path, entities: Entities, template: str) -> dict[str, Any]:
    """A pair of nonlinear transforms, to the model's template if there is one."""
    found = dict(_transforms(folder, entities, ".h5"))
    others = sorted(end for start, end in found if start == "T1w" and end != template)
    others.sort(key=lambda name: name != _USUAL_TEMPLATE)
    for name in (template, *others):
        pair = found.get(("T1w", name)), found.get((name, "T1w"))
        if all(pair):
            return {"forward": pair[0], "inverse": pair[1], "template": name}
    return {}


def _of_scan(files: Precomputed, entities: Entities, labels: Entities) -> Precomputed:
    """Take the image of the scan itself where what was found is about the mean of several."""
    shared = [key for key, _ in entities if key not in dict(labels)]
    if not shared or files.t1w is None or _n_sources(files) == 1:
        return files
    folder = output_path(files.root, "t1w_preproc", entities).parent
    orig = dict(_transforms(folder, entities, ".txt")).get(("orig", "T1w"))
    if orig is not None:
        return replace(files, t1w=None, affine=None, orig=orig)
    if "ses" in shared:
        return Precomputed(
            note=f"{files.t1w.name} is the mean of several sessions, and there is no "
            "from-orig_to-T1w transform of this one beside it, so all is computed from the image "
            "itself. fMRIPrep makes one image per session with `--subject-anatomical-reference "
            "sessionwise`."
        )
    return replace(
        files, note=f"{files.t1w.name} stands for all {shared[0]}- images: they get the same age."
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
