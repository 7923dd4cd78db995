"""Our reader of brainchop's networks computes what the layers say; Dice by region is counted."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks import brainchop
from benchmarks import dice as scoring
from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError


def written(folder, layers, comment=""):
    """A network of (channels, kernel, dilation, activation) with random weights."""
    rng = np.random.default_rng(0)
    topology, entries, parts, before = [{"class_name": "InputLayer", "config": {}}], [], [], 1
    for number, (channels, size, dilation, activation) in enumerate(layers):
        shape = (size, size, size, before, channels)
        config = {"dilation_rate": [dilation] * 3, "use_bias": True}
        topology.append({"class_name": "Conv3D", "config": config})
        if activation:
            topology.append({"class_name": "Activation", "config": {"activation": activation}})
        parts += [rng.normal(size=shape), rng.normal(size=channels)]
        entries += [{"name": f"{number}/kernel", "shape": shape}]
        entries += [{"name": f"{number}/bias", "shape": [channels]}]
        before = channels
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "_comment": comment,
        "modelTopology": {"model_config": {"config": {"layers": topology}}},
        "weightsManifest": [{"paths": ["w.bin"], "weights": entries}],
    }
    (folder / "model.json").write_text(json.dumps(content))
    np.concatenate([part.ravel() for part in parts]).astype("<f4").tofile(folder / "w.bin")
    return parts


def test_layers_are_read_and_slabs_change_nothing(tmp_path, monkeypatch):
    parts = written(tmp_path, [(4, 3, 2, "elu"), (5, 3, 4, "relu"), (3, 1, 1, None)])
    network = brainchop.read_network(tmp_path)
    assert network.n_classes == 3
    assert [layer.dilation for layer in network.layers] == [2, 4, 1]
    x = torch.randn(1, 1, 20, 12, 14, generator=torch.Generator().manual_seed(0))
    expected = x
    for number, (dilation, activation) in enumerate([(2, "elu"), (4, "relu"), (1, None)]):
        kernel = torch.from_numpy(parts[2 * number]).float().permute(4, 3, 0, 1, 2)
        bias = torch.from_numpy(parts[2 * number + 1]).float()
        reach = dilation * (kernel.shape[-1] // 2)
        expected = torch.nn.functional.conv3d(
            expected, kernel, bias, padding=reach, dilation=dilation
        )
        if activation:
            expected = getattr(torch.nn.functional, activation)(expected)
    monkeypatch.setattr(brainchop, "SLAB", 3)
    labels = brainchop.segment(network, x[0, 0].numpy())
    plain = expected.argmax(dim=1)[0].numpy()
    kept = labels > 0
    assert kept.sum() > 0.5 * (plain > 0).sum()  # the largest piece
    np.testing.assert_array_equal(labels[kept], plain[kept])


def test_broken_networks_are_errors(tmp_path):
    with pytest.raises(DataError, match="missing"):
        brainchop.read_network(tmp_path)
    written(tmp_path, [(2, 1, 1, None)])
    np.zeros(3, "<f4").tofile(tmp_path / "w.bin")
    with pytest.raises(DataError, match="3 weights, 4 expected"):
        brainchop.read_network(tmp_path)
    written(tmp_path, [(2, 1, 1, "swish")])
    with pytest.raises(DataError, match="Activation is not known"):
        brainchop.read_network(tmp_path)


def test_scaling_by_quantiles_or_by_the_brightest(tmp_path):
    written(tmp_path, [(2, 1, 1, None)], comment="Normalize with 5% quantile")
    assert brainchop.read_network(tmp_path).quantiles
    values = np.linspace(100, 200, 1001)
    by_quantiles = brainchop.scaled(values, quantiles=True)
    assert np.quantile(by_quantiles, (0.05, 0.95)) == pytest.approx((0, 1), abs=1e-5)
    plain = brainchop.scaled(values, quantiles=False)
    assert (plain.min(), plain.max()) == (0, 1)


def test_a_head_is_segmented_and_compared(tmp_path, capsys):
    written(tmp_path / "models" / "tiny", [(3, 1, 1, None)])
    weights = np.array([0, 40, 0, 0, -24, -4], "<f4")  # label 1 where brighter than 0.6
    weights.tofile(tmp_path / "models" / "tiny" / "w.bin")
    values = np.zeros((40, 40, 40), np.float32)
    values[10:30, 10:30, 10:30] = 100
    truth = np.where(values > 0, 81, 0).astype(np.int16)  # frontal white matter
    affine = np.diag([2.0, 2, 2, 1])
    name = "sub-01_T1w.nii.gz"
    io.save_nifti(nib.Nifti1Image(values, affine), tmp_path / "bids" / "sub-01" / "anat" / name)
    io.save_nifti(nib.Nifti1Image(truth, affine), tmp_path / "ref" / "sub-01_dseg.nii.gz")
    places = [str(tmp_path / part) for part in ("models", "bids", "ref")]
    assert brainchop.main([*places, "--models", "tiny", "--people", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    rows = {line[0]: line[1] for line in lines if len(line) == 2}
    assert float(rows["WM"]) > 0.97
    assert float(rows["memory_gb"]) > 0
    with pytest.raises(SystemExit):
        brainchop.main([places[0], places[1], places[0]])


def test_regions_of_both_sides_are_compared_together():
    truth = np.array([59, 60, 51, 4, 1, 0])  # thalami, ventricles, sulcal fluid, outside
    found = np.array([7, 7, 3, 3, 0, 0])
    scores = brainchop.overlaps(found, truth, 18)
    assert scores["ThalamusProper"] == 1
    assert scores["LateralVentricle"] == pytest.approx(2 / 3)
    assert scores["Ventricles"] == 1
    assert scores["GM"] == 1
    assert scores["GM and WM"] == 1
    assert np.isnan(scores["Hippocampus"])


def test_a_folder_of_label_maps_is_scored_on_the_grid_of_the_reference(tmp_path, capsys):
    truth = np.zeros((12, 12, 12), np.int16)
    truth[2:6], truth[6:10] = 59, 60
    affine = np.diag([2.0, 2, 2, 1])
    io.save_nifti(nib.Nifti1Image(truth, affine), tmp_path / "ref" / "sub-01_dseg.nii.gz")
    flipped = np.diag([-2.0, 2, 2, 1])
    flipped[0, 3] = 22
    image = nib.Nifti1Image(truth[::-1].copy(), flipped)
    io.save_nifti(image, tmp_path / "out" / "sub-01" / "anat" / "sub-01_desc-MUSE_dseg.nii.gz")
    arguments = [str(tmp_path / "out"), str(tmp_path / "ref")]
    assert scoring.main([*arguments, "--out", str(tmp_path / "dice.tsv")]) == 0
    printed = capsys.readouterr().out
    assert "| ThalamusProper_L | 1 | 1.000 | 1.000 | 1.000 |" in printed
    table = io.read_tsv(tmp_path / "dice.tsv").set_index("name")
    assert table.loc["Brain", "worst"] == 1
    with pytest.raises(SystemExit):
        scoring.main([*arguments, "--people", "sub-02"])
