"""``python -m benchmarks.reuse.make BIDS_DIR OUT``: derivatives laid out as those of sMRIPrep.

Templates are taken from TEMPLATEFLOW_HOME. People whose folder is there already are left out.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .layout import TEMPLATE, write_anatomy, write_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    from .ants_steps import anatomy

    start = Path(os.environ["TEMPLATEFLOW_HOME"]) / f"tpl-{TEMPLATE}" / f"tpl-{TEMPLATE}_res-01"
    template, mask = (Path(f"{start}_desc-brain_{kind}.nii.gz") for kind in ("T1w", "mask"))
    write_dataset(options.out)
    for path in sorted(options.bids_dir.glob("sub-*/**/anat/*_T1w.nii.gz")):
        label = path.name.removesuffix("_T1w.nii.gz")
        if next(options.out.glob(f"sub-*/**/{label}_from-{TEMPLATE}_to-T1w_*"), None):
            continue
        made = anatomy(path, template, mask, path.relative_to(options.bids_dir).as_posix())
        write_anatomy(options.out, label, made)
        for xfm in (made.to_template, made.to_t1w):
            Path(str(xfm)).unlink()
        print(label, flush=True)


if __name__ == "__main__":
    main()
