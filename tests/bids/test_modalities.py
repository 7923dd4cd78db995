"""Images of other modalities, found beside the T1w or instead of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.bids.collect import Scan, Wanted, collect_scans
from bidsapp_brainage.bids.input.images import SUFFIXES
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.model.card_checks import schema_faults
from bidsapp_brainage.settings import Selection
from tests.model.tiny import card_dict

BOTH = Wanted(("T1w", "T2w"))
ANY = Wanted(("T1w", "T2w"), any_subset=True)
PEOPLE = {
    "01": [
        {"session": "1", "anat": [
            {"suffix": "T1w"}, {"run": "1", "suffix": "T2w"}, {"run": "2", "suffix": "T2w"},
            {"suffix": "FLAIR"},
        ]},
        {"session": "2", "anat": [{"suffix": "T1w"}]},
    ],
    "02": [{"anat": [{"suffix": "T2w"}]}],
}  # fmt: skip


@pytest.fixture
def dataset(make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(PEOPLE)


def scans(root: Path, wanted: Wanted | None, **options: Any) -> dict[str, Scan]:
    return {scan.label: scan for scan in collect_scans(root, Selection(**options), wanted)[0]}


def others(scan: Scan) -> list[tuple[str, str]]:
    return [(other.modality, other.relative_path) for other in scan.others]


def test_models_of_t1w_see_nothing_else(dataset: Path) -> None:
    found = scans(dataset, None)
    assert list(found) == ["sub-01_ses-1", "sub-01_ses-2"]
    assert not any(scan.others or scan.lacking for scan in found.values())


def test_images_of_one_session_belong_together(dataset: Path) -> None:
    """Of several the first run, as the T1w has none."""
    found = scans(dataset, BOTH)
    first, second = found.values()
    assert others(first) == [("T2w", "sub-01/ses-1/anat/sub-01_ses-1_run-1_T2w.nii.gz")]
    assert (first.lacking, second.lacking) == ((), ("T2w",))
    assert "sub-02" not in found


def test_the_same_run_is_preferred(make_dataset: Callable[..., Path]) -> None:
    runs = [{"run": run, "suffix": suffix} for suffix in ("T1w", "T2w") for run in ("1", "2")]
    found = scans(make_dataset({"01": {"anat": runs}}), BOTH)
    assert [others(scan)[0][1][-17:] for scan in found.values()] == [
        "_run-1_T2w.nii.gz", "_run-2_T2w.nii.gz",
    ]  # fmt: skip


def test_any_subset_will_do_where_the_card_says_so(dataset: Path) -> None:
    found = scans(dataset, ANY)
    assert list(found) == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
    assert [scan.modality for scan in found.values()] == ["T1w", "T1w", "T2w"]
    assert not any(scan.lacking for scan in found.values())
    assert [len(scan.others) for scan in found.values()] == [1, 0, 0]


def test_a_model_of_t2w_alone_takes_the_t2w(dataset: Path) -> None:
    found = scans(dataset, Wanted(("T2w",)))
    assert list(found) == ["sub-01_ses-1_run-1", "sub-01_ses-1_run-2", "sub-02"]
    assert {scan.modality for scan in found.values()} == {"T2w"}
    with pytest.raises(NoInputError, match=r"No UNIT1 image .*_UNIT1.nii.gz in anat/"):
        scans(dataset, Wanted(("UNIT1",)))


def test_filters_by_modality(dataset: Path) -> None:
    path = dataset.parent / "filter.json"
    path.write_text(json.dumps({"t2w": {"run": 2}}))
    found = scans(dataset, BOTH, bids_filter_file=path)
    assert others(found["sub-01_ses-1"])[0][1].endswith("_run-2_T2w.nii.gz")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (None, "without effect are bold, t2w; the model reads t1w."),
        (BOTH, "without effect are bold; the model reads t1w, t2w."),
    ],
)
def test_filters_for_other_images_are_named(
    dataset: Path, wanted: Wanted | None, words: str
) -> None:
    path = dataset.parent / "filter.json"
    path.write_text('{"t1w": {"run": null}, "bold": {}, "t2w": {"run": 2}}')
    _, messages = collect_scans(dataset, Selection(bids_filter_file=path), wanted)
    (warning,) = (message for message in messages if "without effect" in message)
    assert words in warning


def test_swi_has_a_folder_of_its_own_or_lies_in_anat(make_dataset: Callable[..., Path]) -> None:
    root = make_dataset({"01": [{"anat": [{"suffix": "T1w"}]}]})
    path = root / "sub-01" / "swi" / "sub-01_swi.nii.gz"
    path.parent.mkdir()
    path.touch()
    (scan,) = scans(root, Wanted(("T1w", "SWI"))).values()
    assert others(scan) == [("SWI", "sub-01/swi/sub-01_swi.nii.gz")]


def test_cards_may_name_the_modalities_that_are_found() -> None:
    raw = {**card_dict(), "weights": [{"file": "a", "sha256": "0" * 64}]}
    for modality in SUFFIXES:
        raw["input"]["channels"] = [{"modality": modality}]
        assert not [*schema_faults(raw, "models/card.schema.json")]
    raw["input"]["channels"] = [{"modality": "bold"}]
    assert [*schema_faults(raw, "models/card.schema.json")]
