"""ONNX networks: tiny ones made here, and a published one where the development data are."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bidsapp_brainage.errors import MissingExecutableError, ResourceError
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.device import cpu_threads
from bidsapp_brainage.model.networks import onnx as adapter
from bidsapp_brainage.model.networks.onnx import OnnxNetwork
from bidsapp_brainage.model.prediction import decoder, predict
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import SHAPE, card_dict

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

SHARED = Path(os.environ.get("BRAINAGE_SHARED", Path(__file__).parents[3] / "shared"))


def write_mean(path, *, shape, dtype, axes, out="output", more_inputs=False):
    """A network that answers with twice the mean of its input."""
    from onnx import TensorProto, helper

    code = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8}[dtype]
    given = helper.make_tensor_value_info("volume", code, shape)
    result = helper.make_tensor_value_info(out, TensorProto.FLOAT, [shape[0], 1])
    nodes = [
        helper.make_node("Cast", ["volume"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "two"], ["doubled"]),
        helper.make_node("Unsqueeze", ["doubled", "one"], [out]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes),
        helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    inputs = [given]
    if more_inputs:
        inputs.append(helper.make_tensor_value_info("sex", TensorProto.FLOAT, [1]))
    graph = helper.make_graph(nodes, "mean", inputs, [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def write_card(folder, **mean):
    folder.mkdir(parents=True, exist_ok=True)
    path = write_mean(folder / "net.onnx", **mean)
    raw = card_dict()
    raw["architecture"] = {"id": "onnx", "parameters": {}}
    raw["weights"] = [{"file": path.name, "format": "onnx", "sha256": file_sha256(path)}]
    raw["output"] = {"coding": "scalar", "offset": 22.0, "unit": "year"}
    raw["input"]["intensity"] = {"scaling": "none"}
    (folder / "tiny.json").write_text(json.dumps(raw))
    return load_card(folder / "tiny.json")


LAYOUTS = {
    "channels first": {"shape": ["n", 1, *SHAPE], "axes": [1, 2, 3, 4]},
    "channels last": {"shape": ["n", *SHAPE, 1], "axes": [1, 2, 3, 4]},
    "no channels": {"shape": ["n", *SHAPE], "axes": [1, 2, 3]},
    "one at a time": {"shape": [1, 1, *SHAPE], "axes": [1, 2, 3, 4]},
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("dtype", ["float", "uint8"])
def test_every_layout_gives_one_number_per_volume(tmp_path, layout, dtype):
    path = write_mean(tmp_path / "net.onnx", dtype=dtype, **LAYOUTS[layout])
    network = OnnxNetwork(path)
    x = torch.randint(0, 255, (3, 1, *SHAPE)).float()
    found = network(x)
    assert found.shape == (3, 1)
    torch.testing.assert_close(found[:, 0], 2 * x.mean(dim=(1, 2, 3, 4)), rtol=1e-5, atol=1e-4)
    with cpu_threads(2):
        torch.testing.assert_close(network(x), found, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(copy.deepcopy(network)(x[:1]), found[:1], rtol=1e-6, atol=1e-5)


def test_whole_number_inputs_are_rounded_and_bounded(tmp_path):
    network = OnnxNetwork(write_mean(tmp_path / "n.onnx", dtype="uint8", **LAYOUTS["no channels"]))
    values = torch.tensor([-3.0, 1.6, 300.0])
    found = [float(network(torch.full((1, 1, *SHAPE), float(v)))) for v in values]
    assert found == [0.0, 4.0, 510.0]


def test_an_onnx_model_predicts_and_is_occluded(tmp_path, caplog):
    card = write_card(tmp_path, dtype="float", **LAYOUTS["channels first"])
    members = load_members(card)
    volume = np.full(card.shape, 10.0, dtype=np.float32)
    result = predict(members, volume, card)
    assert result.mean == pytest.approx(42.0)
    assert result.ci95_lower is None
    labels = np.zeros(card.shape, dtype=np.int32)
    labels[:10] = 1
    table = occlude(Ensemble(tuple(members), decoder(card)), volume, labels, [1, 2])
    assert "one forward pass for each region" in caplog.text
    assert "ONNX networks run outside of PyTorch" in caplog.text
    assert table["delta_age"][0] == pytest.approx(-10.0, abs=1e-4)  # half of the volume is gone
    assert table[["delta_entropy", "js_divergence"]].isna().all(axis=None)
    assert table.attrs["intact_age"] == pytest.approx(42.0)


def test_a_network_with_another_output_than_the_card_says_is_refused(tmp_path):
    card = write_card(tmp_path, dtype="float", **LAYOUTS["channels first"])
    raw = json.loads((tmp_path / "tiny.json").read_text())
    raw["output"] = card_dict()["output"]
    (tmp_path / "tiny.json").write_text(json.dumps(raw))
    card = load_card(tmp_path / "tiny.json")
    with pytest.raises(ResourceError, match=r"output: the network gives .*need \(N, 37\)"):
        predict(load_members(card), np.zeros(card.shape), card)


def test_what_is_no_such_network_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no protobuf")
    with pytest.raises(ResourceError, match=r"bad\.onnx cannot be read"):
        OnnxNetwork(tmp_path / "bad.onnx")
    layout = LAYOUTS["channels first"]
    two = write_mean(tmp_path / "two.onnx", dtype="float", more_inputs=True, **layout)
    with pytest.raises(ResourceError, match="needs one input"):
        OnnxNetwork(two)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    path = write_mean(tmp_path / "net.onnx", dtype="float", **LAYOUTS["channels first"])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExecutableError, match=r"bidsapp-brainage\[onnx\]"):
        adapter.OnnxNetwork(path)


# --- the network of Yin et al. 2023, with a card as a user would write it -----------------------

STEP = 255 / 127  # scipy's zoom by 0.5 keeps the first and the last voxel
YIN = {
    "architecture": {"id": "onnx", "parameters": {}, "n_parameters": 683529},
    "input": {
        "template": "MNI152NLin2009aSym",
        "registration": "native",
        "skull_stripped": True,
        "orientation": "LIA",
        "resolution_mm": 2.008,
        "shape": [82, 86, 100],
        "affine": [[-STEP, 0, 0, 0], [0, 0, STEP, 0], [0, -STEP, 0, 0], [0, 0, 0, 1]],
        "source_grid": {"shape": [256, 256, 256], "resolution_mm": 1.0, "interpolation": "cubic"},
        "crop": "brain",
        "intensity": {
            "scaling": "white_matter", "at": "source", "multiply": 110, "round": True,
            "clip": [0, 255],
        },
        "background": 0.0,
    },
    "output": {"coding": "scalar", "offset": 22.0, "unit": "year"},
    "age_range": [22.0, 95.0],
    "bias_correction": None,
    "calibration": {},
    "licence": "none stated",
}  # fmt: skip


@pytest.fixture(scope="module")
def yin(tmp_path_factory):
    path = SHARED / "models" / "yin2023_3dcnn_v1.0.onnx"
    if not path.is_file():
        pytest.skip("the ONNX network of Yin 2023 is not here (BRAINAGE_SHARED)")
    folder = tmp_path_factory.mktemp("yin")
    (folder / path.name).symlink_to(path)
    raw = {**card_dict(), **YIN}
    raw["weights"] = [
        {
            "file": path.name,
            "format": "onnx",
            "sha256": "b99bc76b39f2a09cf0d90e1f816c70152645612a0b292c7018900588e8bc0944",
            "size": 2739245,
        }
    ]
    (folder / "yin.json").write_text(json.dumps(raw))
    return load_card(folder / "yin.json")


def age_of(card, image, mask):
    from bidsapp_brainage.imaging.network_input import model_input

    volume, _ = model_input(image, mask, np.eye(4), card.input)
    return predict(load_members(card), volume.get_fdata(dtype="float32"), card, n_threads=1).mean


@pytest.mark.slow
@pytest.mark.shared
def test_the_published_network_says_about_forty_for_the_mni_template(yin):
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    age = age_of(yin, load_mni152_template(resolution=1), load_mni152_brain_mask(resolution=1))
    assert 35 < age < 50


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("person", "actual"), [("IXI013", 46.71), ("IXI252", 70.56)])
def test_the_published_network_on_brains_cut_out_by_freesurfer(yin, person, actual):
    import nibabel as nib

    path = SHARED / "data" / "singles" / "ixi-1mm" / f"{person}_desc-brain_T1w.nii.gz"
    if not path.is_file():
        pytest.skip("the 1 mm images of IXI are not here (BRAINAGE_SHARED)")
    image = nib.load(path)
    mask = nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine)
    assert abs(age_of(yin, image, mask) - actual) < 15  # MAE 9.6 on ten such people
