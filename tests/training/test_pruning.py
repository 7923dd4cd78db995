"""Pruning: which channels matter, and a smaller model from a trained one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from bidsapp_brainage.cli.models import main
from bidsapp_brainage.errors import ExitCode, UsageError
from bidsapp_brainage.io import read_json, read_tsv, write_json, write_tsv
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.networks import build_network
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training.fitting.losses import Objective
from bidsapp_brainage.training.pruning import channels
from tests.model.tiny import card_dict
from tests.training.people import recipe, write_people

CARD = card_dict()
ARCHITECTURE = {
    "id": "sfcn",
    "parameters": {"channels": [4, 6, 5], "n_bins": 37, "dropout": 0.0, "n_pools": 1},
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = build_network(ARCHITECTURE)
    for norm in channels.norms(made):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.3, 0.3)
    return made.eval().requires_grad_(requires_grad=False)


@pytest.fixture
def batches():
    torch.manual_seed(1)
    return [(torch.randn(3, 1, 8, 9, 8), torch.tensor([[30.0], [50.0], [70.0]]))]


def dead(network, layer, channel):
    """Let a channel say nothing, whatever it sees."""
    norm = channels.norms(network)[layer]
    with torch.no_grad():
        norm.weight[channel] = 0
        norm.bias[channel] = 0


def objective(targets):
    return Objective(heads(CARD["output"]), recipe(), targets.numpy())


def test_a_network_without_its_silent_channels_answers_the_same(network, batches):
    x, _ = batches[0]
    for layer, channel in ((0, 2), (1, 0), (1, 5), (2, 4)):
        dead(network, layer, channel)
    kept = [np.array([0, 1, 3]), np.array([1, 2, 3, 4]), np.array([0, 1, 2, 3])]
    narrow = channels.narrowed(network, ARCHITECTURE, kept)
    assert [norm.num_features for norm in channels.norms(narrow)] == [3, 4, 4]
    assert torch.allclose(narrow(x), network(x), atol=1e-5)


def test_importance_is_the_first_order_change_of_the_loss(network, batches):
    (x, targets), step = batches[0], 1e-3
    dead(network, 1, 3)
    loss = objective(targets)
    found = channels.taylor(network, [(x[:1], targets[:1])], loss)
    assert found[1][3] == 0
    assert np.linalg.norm(found[1]) == pytest.approx(1, abs=1e-6)

    def changed(channel):
        norm = channels.norms(network)[1]
        hook = norm.register_forward_hook(
            lambda _m, _i, out: out * (1 - step * (torch.arange(6) == channel))[:, None, None, None]
        )
        value = float(loss.loss(network(x[:1]), targets[:1]))
        hook.remove()
        return value

    intact = float(loss.loss(network(x[:1]), targets[:1]))
    slopes = np.array([abs(changed(channel) - intact) / step for channel in range(6)])
    assert found[1] == pytest.approx(slopes / np.linalg.norm(slopes), abs=0.02)


def test_members_of_an_ensemble_get_the_same_widths():
    one = [np.array([0.9, 0.1, 0.2, 0.8]), np.array([0.5, 0.4, 0.6])]
    other = [np.array([0.1, 0.9, 0.8, 0.2]), np.array([0.6, 0.5, 0.4])]
    assert channels.widths([one, other], 7) == [4, 3]
    assert channels.widths([one, other], 5) == [2, 3]
    assert channels.widths([one, other], 1) == [channels.LEAST, channels.LEAST]
    assert channels.most_important(other[0], 2).tolist() == [1, 2]


def test_statistics_are_measured_anew_and_layers_stay_in_use(network, batches):
    before = [norm.running_mean.clone() for norm in channels.norms(network)]
    channels.measure_anew(network, batches)
    norms = channels.norms(network)
    assert not any(norm.training for norm in norms)
    assert all(norm.momentum == 0.1 for norm in norms)
    assert not torch.equal(norms[1].running_mean, before[1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Twelve people and a model of theirs."""
    folder = tmp_path_factory.mktemp("pruning")
    people, _ = write_people(folder)
    plan = recipe(copies=0)
    (folder / "mine.json").write_text(json.dumps({"card": plan.card, "training": plan.choices()}))
    assert main(["train", str(people), str(folder / "model"), "--recipe",
                 str(folder / "mine.json")]) == 0  # fmt: skip
    return people, folder / "model"


def test_a_model_is_pruned_measured_and_written(trained, tmp_path, capsys):
    people, models = trained
    command = ["prune", str(models / "tiny.json"), str(people), str(tmp_path), "--keep", "0.6",
               "--steps", "2", "--people", "6", "--epochs", "1"]  # fmt: skip
    assert main(command) == 0
    assert "mae_part" in capsys.readouterr().out
    curve = read_tsv(tmp_path / "tinypruned_pruning.tsv")
    assert curve["keep"].tolist() == pytest.approx([1, 0.8, 0.6])
    assert curve["n_parameters"].is_monotonic_decreasing
    assert curve["channels"].iloc[0] == "4 4 4"
    said = load_card(models / "tiny.json").metrics["cross_validation"]["mae"]
    assert curve["mae"].iloc[0] == pytest.approx(said, abs=0.1)
    assert curve["change"].iloc[0] == 0
    card = load_card(tmp_path / "tinypruned.json")
    assert sum(card.architecture["parameters"]["channels"]) == 7
    assert card.metrics["cross_validation"]["mae"] == pytest.approx(curve["mae"].iloc[-1], abs=0.01)
    weights = [member.state_dict() for member in load_members(card)]
    first = (tmp_path / "tinypruned_pruning.tsv").read_text().splitlines()[2].split("\t")[2]
    assert main(command) == 0  # goes on from what is finished
    again = load_members(load_card(tmp_path / "tinypruned.json"))
    assert (tmp_path / "tinypruned_pruning.tsv").read_text().splitlines()[2].split("\t")[2] == first
    for old, new in zip(weights, again, strict=True):
        assert all(torch.equal(value, new.state_dict()[name]) for name, value in old.items())


def test_other_people_are_refused(trained, tmp_path, capsys):
    people, models = trained
    table = read_tsv(people / "participants.tsv")
    table["age"] = table["age"] / 2
    write_tsv(tmp_path / "participants.tsv", table)
    code = main(["prune", str(models / "tiny.json"), str(people), str(tmp_path / "out"),
                 "--participants", str(tmp_path / "participants.tsv")])  # fmt: skip
    assert code == ExitCode.DATA
    assert "that it was trained on" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.json"))


def test_a_model_that_learned_from_inputs_of_another_finds_them(trained, tmp_path):
    """As fine-tuned ones do."""
    people, models = trained
    shutil.copytree(models, tmp_path / "models", ignore=shutil.ignore_patterns("work"))
    card = read_json(tmp_path / "models/tiny.json")
    card["training"]["inputs"] = {"desc": "tinyinput", "suffix": None}
    write_json(tmp_path / "models/tuned.json", {**card, "name": "tuned"})
    command = ["prune", str(tmp_path / "models/tuned.json"), str(people), str(tmp_path / "out")]
    assert main([*command, "--steps", "1", "--people", "6"]) == 0
    assert (tmp_path / "out/tunedpruned.json").is_file()


def test_what_cannot_be_pruned_is_said(trained, tmp_path, capsys):
    people, models = trained
    start = ["prune", str(models / "tiny.json"), str(people), str(tmp_path)]
    assert main([*start, "--keep", "1.5"]) == ExitCode.USAGE
    assert "--keep" in capsys.readouterr().err
    assert main([*start, "--name", "tiny"]) == ExitCode.USAGE
    fixed = {"id": "tissuelinear", "parameters": {}}
    with pytest.raises(UsageError, match="tissuelinear cannot be pruned"):
        channels.with_channels(fixed, [1])
