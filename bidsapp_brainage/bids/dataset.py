"""Files at the root of the derivatives dataset.

Participant jobs may run side by side against one output folder. A file that depends only on the
run is written atomically and only if it differs; a table that grows with every job is merged
under a lock of the folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import __version__, io
from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.catalogue.dataset import LABELS
from bidsapp_brainage.catalogue.lookup import OUTPUTS, columns_of

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.atlas.registry import Atlas
    from bidsapp_brainage.bids.collect import Scan

_DESCRIPTION = "dataset_description.json"
APP_NAME = "bidsapp_brainage"
#: Keyword of a dataset whose people do not exist; pages about it say so.
SYNTHETIC = "synthetic"
#: Name of a dataset that lasts as long as the run alone, so that its place says nothing.
UNLINKED = "Loose images"
BIDS_VERSION = "1.11.1"
_EXPLAINED_AGAIN = "Explanations of finished predictions, computed again"
_CONTAINER_FACTS = Path("/opt/app/container.json")
_TEMPLATEFLOW = "https://github.com/templateflow"
_MAX_NAMED_PARTS = 3  # a longer relative path may tell names of people and machines


@dataclass(frozen=True)
class Origin:
    """What the outputs are made from.

    The hash is that of everything that changes results; derivatives that are used have a name and a
    folder.
    """

    bids_dir: Path
    output_dir: Path
    configuration_hash: str
    derivatives: tuple[tuple[str, Path], ...] = ()


def write_dataset_files(
    origin: Origin,
    *,
    model: str,
    atlas_facts: Mapping[str, object] | None = None,
    scans: Sequence[Scan] = (),
) -> None:
    """Write everything at the root of the output that is not about one participant.

    `model` is the one whose label stands in the names, `atlas_facts` is ``Atlas.description``,
    whose ``DatasetLink`` or ``URL`` is linked; participants of the scans are added to
    ``participants.tsv``.
    """
    output_dir = origin.output_dir
    described = dataset_description(origin, atlas_facts)
    with io.folder_lock(output_dir):
        described["GeneratedBy"] = [*_generated(described), *_explained_again(output_dir)]
        io.write_json(output_dir / _DESCRIPTION, described)
    io.write_text(output_dir / ".bidsignore", bids_ignore())
    io.write_text(output_dir / "README.md", _data_text("boilerplate_readme.md"))
    io.write_text(
        output_dir / "CHANGES", f"{__version__}\n  - Written by {APP_NAME} {__version__}.\n"
    )
    with io.folder_lock(output_dir):
        _merge_table(output_dir / "descriptions.tsv", descriptions(model), "desc_id")
        if scans:
            _merge_table(output_dir / "participants.tsv", participants(scans), "participant_id")


def add_explanation(
    origin: Origin, *, model: str, atlas_facts: Mapping[str, object] | None = None
) -> None:
    """Note that finished predictions are explained again: a further entry of ``GeneratedBy``.

    What is there about the predictions stays. Parameters are those of :func:`write_dataset_files`.
    """
    output_dir = origin.output_dir
    new = dataset_description(origin, atlas_facts)
    entry = {**_generated(new)[0], "Description": _EXPLAINED_AGAIN}
    with io.folder_lock(output_dir):
        described = io.read_json(output_dir / _DESCRIPTION) or new
        others = [other for other in _generated(described) if other != entry]
        links = described.get("DatasetLinks")
        known = links if isinstance(links, dict) else {}
        described["GeneratedBy"] = [*others, entry]
        described["DatasetLinks"] = {**_dataset_links(origin, {}, atlas_facts), **known}
        io.write_json(output_dir / _DESCRIPTION, described)
        _merge_table(output_dir / "descriptions.tsv", descriptions(model), "desc_id")
    io.write_text(output_dir / ".bidsignore", bids_ignore())


def _generated(described: Mapping[str, object]) -> list[dict[str, object]]:
    """Entries of ``GeneratedBy``."""
    entries = described.get("GeneratedBy")
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _explained_again(output_dir: Path) -> list[dict[str, object]]:
    """What :func:`add_explanation` noted, which a later run on further participants leaves."""
    known = _generated(io.read_json(output_dir / _DESCRIPTION))
    return [each for each in known if each.get("Description") == _EXPLAINED_AGAIN]


def dataset_description(
    origin: Origin, atlas_facts: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Content of ``dataset_description.json``, without any path of this machine."""
    raw = io.read_json(origin.bids_dir / _DESCRIPTION)
    generated: dict[str, object] = {
        "Name": APP_NAME,
        "Version": __version__,
        "Description": "Brain age from T1w images with the contribution of each atlas region",
        "Container": container_facts(),
        "ConfigurationHash": origin.configuration_hash,
    }
    described = {
        "Name": f"Brain age: {raw['Name']}" if raw.get("Name") else "Brain age",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": raw.get("License"),
        "Keywords": [SYNTHETIC] if _is_synthetic(raw) else None,
        "GeneratedBy": [{key: value for key, value in generated.items() if value}],
        "SourceDatasets": _source_datasets(raw),
        "DatasetLinks": _dataset_links(origin, raw, atlas_facts),
        "HowToAcknowledge": "Cite the works listed in logs/CITATION.md.",
    }
    return {key: value for key, value in described.items() if value}


def shows_synthetic_people(root: Path) -> bool:
    """Whether the description of a dataset, raw or derivative, has the keyword ``synthetic``."""
    return _is_synthetic(io.read_json(root / _DESCRIPTION))


def _is_synthetic(description: Mapping[str, object]) -> bool:
    keywords = description.get("Keywords")
    return isinstance(keywords, list) and SYNTHETIC in (str(word).lower() for word in keywords)


def container_facts() -> dict[str, str]:
    """Container that the app runs in: as baked into the image, never from the environment.

    Only whether Apptainer or Singularity runs that image is known at run time alone.
    """
    try:
        baked = json.loads(_CONTAINER_FACTS.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    facts = {key: str(baked[key]) for key in ("Type", "Tag", "URI") if baked.get(key)}
    if {"APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"} & set(os.environ):
        facts["Type"] = "singularity"
    return facts


def bids_ignore() -> str:
    """Content of ``.bidsignore``: pages, logs, caches and the names that BIDS does not know yet."""
    foreign = [card.suffix for card in OUTPUTS if card.level == "subject" and not card.bids]
    lines = [".cache", "*.html", "figures", "log", "ratings", "group_*"]
    lines += [f"*_{name}.*" for name in foreign]
    tables = [card for card in OUTPUTS if card.level == "dataset" and card.is_table]
    lines += [f"{card.suffix}.*" for card in tables if not card.bids]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def descriptions(model: str) -> pd.DataFrame:
    """Rows of ``descriptions.tsv``: what each ``desc-`` label of the outputs means."""
    import pandas as pd

    rows = [
        (f"desc-{label.format(model=model)}", meaning.format(model=model))
        for label, meaning in LABELS.items()
    ]
    return pd.DataFrame(rows, columns=columns_of("descriptions"))


def participants(scans: Sequence[Scan]) -> pd.DataFrame:
    """Rows of ``participants.tsv``: one per person, with the age only if all scans share it."""
    import pandas as pd

    by_subject: dict[str, list[Scan]] = {}
    for scan in scans:
        by_subject.setdefault(scan.subject, []).append(scan)
    rows = []
    for subject, own in by_subject.items():
        ages = {scan.age.value for scan in own}
        rows.append(
            {
                "participant_id": f"sub-{subject}",
                "age": ages.pop() if len(ages) == 1 else None,
                "sex": own[0].sex,
                "site": own[0].site,
            }
        )
    return pd.DataFrame(rows, columns=columns_of("participants"))


def write_atlas_files(output_dir: Path, atlas: Atlas) -> None:
    """Write the description and the label table of an atlas at the root of the output.

    By BIDS inheritance the table explains every image with the same atlas entities.
    """
    facts = {"Name": atlas.name, "License": "Unknown", **dict(atlas.description)}
    io.write_json(output_path(output_dir, "atlas", atlas=atlas.name), facts)
    table = _with_sizes(atlas)
    path = output_path(output_dir, "regions", atlas=atlas.name, seg=atlas.seg, scale=atlas.scale)
    io.write_tsv(path, table)
    io.write_json(sidecar_path(path), sidecar("dseg", list(table.columns)))


def _with_sizes(atlas: Atlas) -> pd.DataFrame:
    """Label table with the voxels and the volume of each region on the atlas's own grid."""
    import numpy as np

    image = io.load_nifti(atlas.dseg)
    labels = np.asanyarray(image.dataobj).astype(np.int64).ravel()
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    n_voxels = [int(counts.get(index, 0)) for index in atlas.table["index"]]
    voxel_mm3 = abs(float(np.linalg.det(image.affine[:3, :3])))
    volumes = [count * voxel_mm3 for count in n_voxels]
    return atlas.table.assign(n_voxels=n_voxels, volume_mm3=volumes)


def _merge_table(path: Path, rows: pd.DataFrame, key: str) -> None:
    """Add `rows` to a table with dictionary; rows with a known key replace the old ones."""
    import pandas as pd

    if path.is_file():
        existing = io.read_tsv(path)
        kept = existing[~existing[key].isin(rows[key])] if key in existing else existing.iloc[:0]
        frames = [frame.astype(object) for frame in (kept, rows) if len(frame)]
        rows = pd.concat(frames, ignore_index=True).sort_values(key, kind="stable")
    else:
        rows = rows.sort_values(key, kind="stable")
    io.write_tsv(path, rows)
    io.write_json(path.with_suffix(".json"), sidecar(path.stem, list(rows.columns)))


def _source_datasets(raw: Mapping[str, object]) -> list[dict[str, str]]:
    doi = str(raw.get("DatasetDOI") or "")
    return [{"DOI": doi}] if doi else []


def _dataset_links(
    origin: Origin, raw: Mapping[str, object], atlas_facts: Mapping[str, object] | None
) -> dict[str, str]:
    links = {
        "raw": _link(origin.bids_dir, origin.output_dir, raw, fallback="raw"),
        "templateflow": _TEMPLATEFLOW,
    }
    for name, folder in origin.derivatives:
        own = io.read_json(folder / _DESCRIPTION)
        links[name] = _link(folder, origin.output_dir, own, fallback=name)
    facts = atlas_facts or {}
    url = str(facts.get("DatasetLink") or facts.get("URL") or "")
    return links | ({"atlases": url} if "://" in url else {})


def _link(folder: Path, output_dir: Path, described: Mapping[str, object], *, fallback: str) -> str:
    """Where a dataset lies: a short relative path, else its DOI, else a name."""
    relative = Path(os.path.relpath(folder.absolute(), output_dir.absolute()))
    named = [part for part in relative.parts if part != ".."]
    if len(named) <= _MAX_NAMED_PARTS and described.get("Name") != UNLINKED:
        return relative.as_posix()
    doi = str(described.get("DatasetDOI") or "")
    if doi:
        return f"https://doi.org/{doi.removeprefix('doi:')}"
    name = re.sub(r"[^a-zA-Z0-9]+", "-", str(described.get("Name") or fallback)).strip("-").lower()
    return f"urn:bids-dataset:{name}"


def holds_loose_images(bids_dir: Path) -> bool:
    """Whether a dataset was laid out as links to images that belong to none."""
    return io.read_json(bids_dir / _DESCRIPTION).get("Name") == UNLINKED


def _data_text(name: str) -> str:
    return resources.files("bidsapp_brainage").joinpath("data", name).read_text("utf-8")
