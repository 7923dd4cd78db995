"""The summary of agreement reads derivatives and says what is missing."""

from __future__ import annotations

import pandas as pd

from benchmarks.agreement import main
from bidsapp_brainage import io


def test_medians_over_scans_are_printed(tmp_path, capsys):
    for sub, rho in (("01", 0.2), ("02", 0.4)):
        row = {"explanation_a": "occlusion_background", "explanation_b": "noise", "n_regions": 5}
        values = {"spearman": None, "spearman_abs": rho, "spearman_abs_per_ml": rho}
        stem = f"sub-{sub}/anat/sub-{sub}_space-T_atlas-A_desc-m"
        io.write_tsv(tmp_path / f"{stem}_agreement.tsv", pd.DataFrame([row | values]))
        steps = [{"method": "lrp", "step": k} | values for k in (0, 1)]
        io.write_tsv(tmp_path / f"{stem}_randomisation.tsv", pd.DataFrame(steps))
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 scan(s)" in printed
    assert "| occlusion_background | noise | n/a | 0.30 (0.20 to 0.40) |" in printed
    assert "| lrp | 1 |" in printed


def test_a_folder_without_tables_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "no *_agreement.tsv" in capsys.readouterr().err
    assert main([]) == 2
