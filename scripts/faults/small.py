"""A study whose scans cost few processor seconds: synthetic people at 4 mm, a template at 4 mm.

Every stage of a real run is there but the segmentation, which knows the embedded template only.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
from nibabel.processing import resample_to_output

from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import embedded_images
from bidsapp_brainage.demo.sample import Person, Scan, write_sample
from tests.model.tiny import card_dict, make_card

TEMPLATE = "Coarse"
VOXEL_MM = 4.0


def write_study(root: Path, people: int = 2) -> None:
    """Write ``bids``, ``models`` (an untrained network) and ``templateflow`` below a folder."""
    ages = [25.0 + 10 * place for place in range(people)]
    write_sample(
        root / "bids",
        people=tuple(
            Person(
                f"{place:02d}",
                "FM"[place % 2],
                (Scan(age, age, (VOXEL_MM,) * 3, ("RAS", "LAS")[place % 2], stripped=True),),
            )
            for place, age in enumerate(ages, start=1)
        ),
    )
    _write_template(root / "templateflow" / f"tpl-{TEMPLATE}")
    make_card(root / "models", input=card_dict()["input"] | {"template": TEMPLATE})


def _write_template(folder: Path) -> None:
    """Write the embedded template anew, with voxels as large as those of the people."""
    for image, name, order in zip(
        embedded_images(), ("T1w", "desc-brain_mask"), (1, 0), strict=True
    ):
        coarse = resample_to_output(image, (VOXEL_MM,) * 3, order=order)
        coarse = nib.Nifti1Image(coarse.get_fdata().round().astype("uint8"), coarse.affine)
        io.save_nifti(coarse, folder / f"{folder.name}_res-01_{name}.nii.gz")
    io.write_json(folder / "template_description.json", {"Name": TEMPLATE, "Identifier": TEMPLATE})
