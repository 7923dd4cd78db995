"""Published networks: names, shapes and numbers of parameters as their authors' files have them."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.cards import bundled_folder, load_card
from bidsapp_brainage.model.device import cpu_threads
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.model.weights.keras import keras_state
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import card_dict

PUBLISHED = ("sfcnukb", "nosa", "pymentreg", "pymentsm", "pymentrank", "midi", "synthbag")

# Written down from the authors' code: how many tensors a state dict has, and some of them.
# NOSA: every block also has a 1x1x1 convolution that is never used; it is in the file.
# DenseNet: MONAI's names.
KEYS = {
    "sfcnukb": (
        44,
        {
            "feature_extractor.conv_0.0.weight": (32, 1, 3, 3, 3),
            "feature_extractor.conv_4.1.running_var": (256,),
            "feature_extractor.conv_5.0.weight": (64, 256, 1, 1, 1),
            "classifier.conv_6.bias": (40,),
        },
    ),
    "nosa": (
        54,
        {
            "block1.conv0.weight": (32, 1, 3, 3, 3),
            "block1.conv1.weight": (32, 1, 1, 1, 1),
            "block5.conv1.weight": (256, 256, 1, 1, 1),
            "block3.bn.num_batches_tracked": (),
            "conv1.weight": (128, 256, 1, 1, 1),
            "bn.running_mean": (128,),
            "conv2.weight": (73, 128, 1, 1, 1),
        },
    ),
    "midi": (
        727,
        {
            "features.conv0.weight": (64, 1, 7, 7, 7),
            "features.norm0.running_mean": (64,),
            "features.denseblock1.denselayer1.layers.norm1.weight": (64,),
            "features.denseblock1.denselayer6.layers.conv1.weight": (128, 224, 1, 1, 1),
            "features.denseblock4.denselayer16.layers.conv2.weight": (32, 128, 3, 3, 3),
            "features.transition3.conv.weight": (512, 1024, 1, 1, 1),
            "features.norm5.bias": (1024,),
            "class_layers.out.weight": (1, 1024),
        },
    ),
    "synthbag": (
        1207,
        {
            "features.denseblock3.denselayer48.layers.norm1.weight": (1760,),
            "features.transition3.conv.weight": (896, 1792, 1, 1, 1),
            "class_layers.out.weight": (1, 1920),
        },
    ),
}


def bundled(name):
    return load_card(bundled_folder() / f"{name}.json")


@pytest.mark.parametrize("name", [*PUBLISHED, "synthbau"])
def test_parameters_are_as_many_as_published(name):
    card = bundled(name)
    network = build_network(card.architecture)
    assert sum(p.numel() for p in network.parameters()) == card.architecture["n_parameters"]


@pytest.mark.parametrize("name", [*PUBLISHED, "synthbau"])
def test_every_published_card_tells_how_its_authors_preprocessed(name):
    told = bundled(name).raw["preprocessing"]
    assert told["authors"]
    assert told["differences"]
    assert "/" in told["source"]


def test_the_published_numbers_of_parameters():
    counts = {name: bundled(name).architecture["n_parameters"] for name in PUBLISHED}
    assert counts["sfcnukb"] == 2_952_936  # Peng 2021
    assert counts["nosa"] == 3_085_641  # He 2025


@pytest.mark.parametrize("name", sorted(KEYS))
def test_state_dicts_have_the_published_names_and_shapes(name):
    number, known = KEYS[name]
    state = build_network(bundled(name).architecture).state_dict()
    assert len(state) == number
    assert {key: tuple(state[key].shape) for key in known} == known


@pytest.mark.parametrize("name", PUBLISHED)
def test_outputs_have_one_number_per_head(name):
    card = bundled(name)
    torch.manual_seed(0)
    network = build_network(card.architecture).eval()
    with torch.inference_mode():
        raw = network(torch.zeros(1, 1, 32, 32, 32))
    assert raw.shape == (1, card.main_head.n_outputs)
    assert card.main_head.decode(raw)[1].shape == (1,)


@pytest.mark.parametrize("name", PUBLISHED)
def test_batch_size_and_threads_change_nothing_but_rounding(name):
    torch.manual_seed(1)
    network = build_network(bundled(name).architecture).eval()
    x = torch.randn(2, 1, 32, 32, 32)
    with torch.inference_mode():
        with cpu_threads(1):
            single = torch.cat([network(part[None]) for part in x])
            together = network(x)
        with cpu_threads(2):
            threaded = network(x)
    scale = float(single.abs().max())
    torch.testing.assert_close(together, single, rtol=0, atol=1e-4 * scale)
    torch.testing.assert_close(threaded, single, rtol=0, atol=1e-4 * scale)


def test_published_codings():
    reg, sm, rank = (bundled(f"pyment{kind}").main_head for kind in ("reg", "sm", "rank"))
    assert reg.decode(torch.tensor([[-5.0], [50.0], [200.0]]))[1].tolist() == [3.0, 53.0, 95.0]
    assert (sm.bin_centers[0], sm.bin_centers[-1]) == (3.0, 95.0)
    raw = torch.full((1, 91), -2.0)
    raw[0, :40] = 0.1
    assert rank.decode(raw)[1].tolist() == [43.0]
    peng = bundled("sfcnukb").main_head.bin_centers
    assert (peng[0], peng[-1]) == (42.5, 81.5)
    nosa = bundled("nosa").main_head.bin_centers
    assert (nosa[0], nosa[-1]) == (8.0, 80.0)
    assert bundled("synthbag").main_head.decode(torch.tensor([[0.3]]))[1].tolist() == pytest.approx(
        [30.0]
    )


def written(folder, state, *, suffix="pt", **weight):
    """A card for a small SFCN whose weights are in a PyTorch file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tiny.{suffix}"
    torch.save(state, path)
    raw = card_dict()
    raw["weights"] = [{"file": path.name, "format": "torch", "sha256": file_sha256(path), **weight}]
    (folder / "tiny.json").write_text(json.dumps(raw))
    return load_card(folder / "tiny.json")


def test_pytorch_files_with_a_key_and_a_prefix(tmp_path):
    torch.manual_seed(0)
    network = build_network(card_dict()["architecture"])
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    card = written(
        tmp_path,
        {"epoch": 253, "model_state_dict": state},
        suffix="pkl",
        state_key="model_state_dict",
        key_prefix="module.",
    )
    (loaded,) = load_members(card)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    with pytest.raises(ResourceError, match="no 'weights' in the file"):
        load_members(written(tmp_path / "b", {"epoch": 1}, state_key="weights"))
    with pytest.raises(ResourceError, match="do not fit"):
        load_members(written(tmp_path / "c", state))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, capsys):
    with pytest.raises(ResourceError, match="holds more than tensors"):
        load_members(written(tmp_path, {"x": Evil()}))
    assert "executed" not in capsys.readouterr().out


def save_keras(path, network, *, shuffled=False):
    """Write a network's weights as TensorFlow 2 would."""
    parts = [m for m in network.modules() if isinstance(m, (nn.Conv3d, nn.BatchNorm3d, nn.Linear))]
    names = []
    with h5py.File(path, "w") as file:
        for place, part in enumerate(parts):
            own = {key: value.detach().numpy() for key, value in part.state_dict().items()}
            if isinstance(part, nn.BatchNorm3d):
                arrays = {
                    "gamma": own["weight"], "beta": own["bias"],
                    "moving_mean": own["running_mean"], "moving_variance": own["running_var"],
                }  # fmt: skip
            else:
                axes = (2, 3, 4, 1, 0) if isinstance(part, nn.Conv3d) else (1, 0)
                arrays = {"kernel": own["weight"].transpose(axes), "bias": own["bias"]}
            name = f"layer_{place}"
            group = file.create_group(name)
            weights = [f"{name}/{kind}:0" for kind in arrays]
            for weight, array in zip(weights, arrays.values(), strict=True):
                group[weight] = array
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            names.append(name.encode())
            if isinstance(part, nn.BatchNorm3d):  # layers without weights stand between
                file.create_group(f"relu_{place}").attrs["weight_names"] = []
                names.append(f"relu_{place}".encode())
        file.attrs["layer_names"] = names[::-1] if shuffled else names


def small_pyment(seed, n_outputs=3):
    torch.manual_seed(seed)
    parameters = {"channels": [2, 3, 4], "n_outputs": n_outputs}
    network = build_network({"id": "pyment", "parameters": parameters}).eval()
    for name, value in network.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return network


def test_keras_weights_give_the_same_network(tmp_path):
    network, other = small_pyment(0), small_pyment(1)
    save_keras(tmp_path / "w.h5", network)
    other.load_state_dict(keras_state(tmp_path / "w.h5", other), strict=True)
    x = torch.randn(2, 1, 12, 14, 10)
    assert torch.equal(network(x), other(x))


def test_keras_files_of_another_network_are_refused(tmp_path):
    save_keras(tmp_path / "w.h5", small_pyment(0), shuffled=True)
    with pytest.raises(ValueError, match="is not a Conv3d"):
        keras_state(tmp_path / "w.h5", small_pyment(0))
    with pytest.raises(ValueError, match="the network has 13"):
        keras_state(tmp_path / "w.h5", build_network({"id": "pyment", "parameters": {}}))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(ValueError, match="no list of layers"):
        keras_state(tmp_path / "x.h5", small_pyment(0))


def test_densenet_layers_see_all_earlier_ones():
    parameters = {"layers": [2, 1], "growth": 2, "features": 4, "n_outputs": 1}
    network = build_network({"id": "densenet", "parameters": parameters})
    assert network.features.denseblock1.denselayer2.layers.conv1.weight.shape[1] == 6
    assert network.features.transition1.conv.weight.shape[:2] == (4, 8)
    with pytest.raises(ResourceError, match="layers needs positive"):
        build_network({"id": "densenet", "parameters": {"layers": [0]}})


SMALL = {
    "nosa": {"n_bins": 5},
    "pyment": {"channels": [4, 4, 8], "n_outputs": 1},
    "densenet": {"layers": [2, 2], "growth": 4, "features": 8, "n_outputs": 1},
}


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_every_architecture_is_occluded_alike_by_both_engines(architecture):
    torch.manual_seed(0)
    parameters = SMALL[architecture]
    network = build_network({"id": architecture, "parameters": parameters}).eval()
    volume = np.random.default_rng(0).normal(size=(32, 36, 32)).astype(np.float32)
    labels = np.zeros(volume.shape, dtype=np.int32)
    labels[4:9, 8:14, 10:20], labels[20:24, 20:30, 6:9] = 1, 2
    coding = {"coding": "bins", "lower": 0.0, "width": 20.0, "n_bins": 5, "unit": "year"}
    (head,) = heads(coding if architecture == "nosa" else {"coding": "scalar", "unit": "year"})

    def decode(raw):
        probabilities, ages = head.decode(raw)
        return ages.new_zeros((len(ages), 0)) if probabilities is None else probabilities, ages

    auto, loop = (
        occlude(Ensemble((network,), decode, engine=engine), volume, labels, [1, 2])
        for engine in ("auto", "loop")
    )
    np.testing.assert_allclose(auto["delta_age"], loop["delta_age"], atol=1e-3)
    assert auto["delta_entropy"].isna().all() == (architecture != "nosa")
