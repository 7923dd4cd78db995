"""What earlier runs have computed already (``--derivatives``) and need not be computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp_brainage.bids.names import bids_uri, output_path

_OPTIONAL = ("run", "echo", "part", "rec", "ce", "acq", "ses")


@dataclass(frozen=True)
class Precomputed:
    """Files of one scan that replace computing; None where there is none.

    Attributes
    ----------
    t1w, mask : Path or None
        Bias-corrected T1w and brain mask.
    affine : Path or None
        Text matrix, as this app writes it.
    forward, inverse : Path or None
        Transforms to and from the model's template; used only as a pair.
    dataset : str
        Name of the dataset, as in ``--derivatives NAME=PATH``.
    root : Path
        Its folder.
    """

    t1w: Path | None = None
    mask: Path | None = None
    affine: Path | None = None
    forward: Path | None = None
    inverse: Path | None = None
    dataset: str = ""
    root: Path = Path()

    @property
    def has_warp(self) -> bool:
        """Whether both directions of the nonlinear transform are there."""
        return self.forward is not None and self.inverse is not None

    def uris(self) -> list[str]:
        """BIDS URI of the T1w that replaces the raw one; empty if none does."""
        return [] if self.t1w is None else [bids_uri(self.t1w, self.root, self.dataset)]


def collect_derivatives(
    datasets: Sequence[tuple[str, Path]], entities: tuple[tuple[str, str], ...], template: str
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
        for labels in _ladder(entities):
            files = _search(root, labels, template)
            if files:
                return Precomputed(**files, dataset=name, root=root)
    return Precomputed()


def _ladder(entities: tuple[tuple[str, str], ...]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Entities of the scan, then with one more left out each time."""
    yield entities
    for key in _OPTIONAL:
        if key in dict(entities):
            entities = tuple(pair for pair in entities if pair[0] != key)
            yield entities


def _search(root: Path, entities: tuple[tuple[str, str], ...], template: str) -> dict[str, Path]:
    """Files that exist under the names made from `entities`."""
    forward = {"from_": "T1w", "to": template, "mode": "image"}
    inverse = {"from_": template, "to": "T1w", "mode": "image"}
    paths = {
        "t1w": output_path(root, "t1w_preproc", entities),
        "mask": output_path(root, "mask", entities),
        "affine": output_path(root, "affine", entities, **forward),
        "forward": output_path(root, "transform", entities, **forward),
        "inverse": output_path(root, "transform", entities, **inverse),
    }
    return {kind: path for kind, path in paths.items() if path.is_file()}
