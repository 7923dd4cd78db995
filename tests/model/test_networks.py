from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.networks.sfcn import SFCN
from bidsapp_brainage.model.weights.files import WeightFile
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import SHAPE, make_card


def test_the_default_is_the_published_network():
    network = SFCN()
    assert sum(p.numel() for p in network.parameters()) == 2_952_936  # Peng 2021
    names = network.state_dict()
    assert names["feature_extractor.conv_0.0.weight"].shape == (32, 1, 3, 3, 3)
    assert names["feature_extractor.conv_5.0.weight"].shape == (64, 256, 1, 1, 1)
    assert names["classifier.conv_6.weight"].shape == (40, 64, 1, 1, 1)


def test_layers_come_in_the_published_order():
    layers = SFCN().feature_extractor[0]
    assert [type(layer).__name__ for layer in layers] == [
        "Conv3d", "BatchNorm3d", "MaxPool3d", "ReLU",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"stem_stride": 2}, {"n_pools": 1}, {"n_pools": 0}])
def test_logits_have_one_column_per_bin(options):
    network = SFCN(channels=(2, 3, 4), n_bins=7, **options).eval()
    assert network(torch.zeros(2, 1, *SHAPE)).shape == (2, 7)


def test_a_strided_stem_halves_all_later_maps():
    x = torch.zeros(1, 1, 16, 16, 16)
    sizes = [
        SFCN(channels=(2, 2, 2), n_bins=3, stem_stride=stride).feature_extractor(x).shape[2]
        for stride in (1, 2)
    ]
    assert sizes == [4, 2]


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (
            {"id": "sfnc", "parameters": {}},
            "'sfnc' is unknown. Known: branches, densenet, headvolumes, mixture, nosa",
        ),
        ({"id": "sfcn", "parameters": {"width": 3}}, "width"),
        ({"id": "sfcn", "parameters": {"channels": [4]}}, "channels needs two"),
        ({"id": "sfcn", "parameters": {"stem_stride": 3}}, "stem_stride is 1 or 2"),
    ],
)
def test_impossible_architectures_are_refused(architecture, message):
    with pytest.raises(ResourceError, match=message):
        build_network(architecture)


def test_members_come_ready_to_predict(tmp_path):
    members = load_members(make_card(tmp_path, members=3))
    assert len(members) == 3
    assert not any(member.training for member in members)
    assert not any(p.requires_grad for member in members for p in member.parameters())


def test_weights_of_another_architecture_are_refused(tmp_path):
    card = make_card(tmp_path)
    path = card.weights[0].path
    save_file(SFCN(channels=(2, 2)).state_dict(), path)
    other = dataclasses.replace(card, weights=(WeightFile(path, file_sha256(path)),))
    with pytest.raises(ResourceError, match="do not fit the architecture"):
        load_members(other)
