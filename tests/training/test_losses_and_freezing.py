from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError, ResourceError, UsageError
from bidsapp_brainage.model.networks import ARCHITECTURES, build_network
from bidsapp_brainage.model.outputs import heads
from bidsapp_brainage.training.data.cohort import Cohort
from bidsapp_brainage.training.data.targets import make_output, parse_targets
from bidsapp_brainage.training.decode import average_tables, decode_table
from bidsapp_brainage.training.fitting import losses
from bidsapp_brainage.training.fitting.freezing import blocks, freeze, take_over
from bidsapp_brainage.training.fitting.loop import Split, Start, frozen_blocks, train_network
from bidsapp_brainage.training.setup import final_recipe, with_outputs
from tests.training.people import recipe, task, toys, write_people

BINS = {"coding": "bins", "lower": 10.0, "width": 2.0, "n_bins": 40, "unit": "year"}
SEX = {"coding": "classes", "classes": ["F", "M"]}
SCALAR = {"coding": "scalar", "scale": 5.0, "offset": 25.0, "unit": "1"}
SMALL = {"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 7}}


def cohort(**columns):
    table = pd.DataFrame(columns)
    people = tuple(f"sub-{i}" for i in range(len(table)))
    return Cohort(people, (), table)


def objective(output, targets, **changes):
    parts = heads(output)
    return losses.Objective(parts, recipe(**changes), losses.encode(targets, parts))


@pytest.mark.parametrize("loss", ["kl", "l1", "mse"])
@pytest.mark.parametrize("output", [BINS, {"heads": {"age": SCALAR}}])
def test_the_right_answer_costs_less(loss, output):
    people = cohort(age=[20.0, 30.0, 40.0])
    what = objective(output, people, loss=loss, label_sd=1.0)
    targets = torch.from_numpy(losses.encode(people, heads(output))).float()
    head = heads(output)[0]
    if head.coding == "bins":
        right = torch.log(losses.soft_labels(head, targets[:, 0], 1.0) + 1e-9)
    else:
        right = (targets - 25.0) / 5.0
    wrong = right.flip(0)
    assert what.loss(right, targets) < 0.1
    assert what.loss(wrong, targets) > what.loss(right, targets) + 0.1
    assert what.errors(right, targets)["age"] < 1.1 < what.errors(wrong, targets)["age"]
    assert what.score(right, targets) < what.score(wrong, targets)


def test_unknown_targets_cost_nothing():
    output = {"heads": {"age": BINS, "sex": SEX}}
    people = cohort(age=[20.0, np.nan], sex=[None, "M"])
    what = objective(output, people)
    targets = torch.from_numpy(losses.encode(people, heads(output))).float()
    outputs = torch.zeros(2, 42, requires_grad=True)
    what.loss(outputs, targets).backward()
    assert outputs.grad[0, :40].abs().sum() > 0
    assert outputs.grad[0, 40:].abs().sum() == 0
    assert outputs.grad[1, :40].abs().sum() == 0
    assert outputs.grad[1, 40:].abs().sum() > 0
    nobody = torch.full_like(targets, torch.nan)
    assert float(what.loss(outputs.detach(), nobody)) == 0
    assert np.isnan(what.score(outputs.detach(), nobody))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(18, 90), min_size=3, max_size=8, unique=True))
def test_ranks_and_differences_prefer_the_right_order(ages):
    true = torch.tensor(sorted(ages))
    if true.diff().min() < 0.5:
        return
    assert losses.difference_loss(true + 9.0, true) == pytest.approx(0, abs=1e-3)
    assert losses.difference_loss(true.flip(0), true) > 0.1
    right, wrong = (losses.rank_loss(t, true, 10.0) for t in (true, true.flip(0)))
    assert right < wrong


def test_rank_and_difference_losses_are_added():
    people = cohort(age=[20.0, 30.0, 40.0])
    targets = torch.from_numpy(losses.encode(people, heads(BINS))).float()
    outputs = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    plain = objective(BINS, people).loss(outputs, targets)
    more = objective(BINS, people, rank_weight=1.0, difference_weight=1.0).loss(outputs, targets)
    assert more > plain


def test_targets_are_read_and_coded_by_what_the_column_holds():
    people = cohort(
        age=[20.0, 30.0, 41.0, 50.0, 61.0, 70.0],
        sex=["F", "M", "F", "M", None, "M"],
        bmi=[20.1, 22.0, 30.5, 25.0, 27.0, 23.5],
        ill=[0, 1, 0, 1, 1, None],
    )
    output = make_output(parse_targets("age,sex,bmi,ill:binary"), people, BINS)["heads"]
    assert output["age"] == BINS
    assert output["sex"]["classes"] == ["F", "M"]
    assert output["bmi"]["coding"] == "scalar"
    assert output["ill"]["classes"] == ["0", "1"]
    assert make_output(parse_targets("age"), people, BINS) == BINS
    bins = make_output(parse_targets("bmi:bins"), people, BINS)["heads"]["bmi"]
    assert bins["lower"] < 20.1
    assert bins["lower"] + bins["n_bins"] * bins["width"] > 30.5
    matrix = losses.encode(people, heads({"heads": output}))
    assert matrix.shape == (6, 1 + 2 + 1 + 2)
    assert np.isnan(matrix[4, 1:3]).all()
    assert matrix[0, 1:3].tolist() == [1, 0]


@pytest.mark.parametrize("text", ["age:number", "", "age,,sex", "age,age"])
def test_unreadable_targets_are_refused(text):
    with pytest.raises(UsageError, match="`target`"):
        parse_targets(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("sex:scalar", "no numbers"), ("site:binary", "3 values"), ("same:classes", "1 classes")],
)
def test_columns_that_do_not_hold_the_target_are_refused(text, message):
    people = cohort(sex=["F", "M", "F"], site=["a", "b", "c"], same=["x", "x", "x"])
    with pytest.raises(DataError, match=message):
        make_output(parse_targets(text), people, BINS)


def test_tables_of_several_networks_become_a_mixture():
    parts = heads({"heads": {"age": BINS, "sex": SEX}})
    outputs = [torch.randn(3, 42, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    tables = [decode_table(o, parts) for o in outputs]
    both = average_tables(tables, parts)
    p = torch.stack([torch.softmax(o[:, :40].double(), 1) for o in outputs]).mean(0).numpy()
    centers = parts[0].bin_centers
    mean = p @ centers
    assert both.predicted_age.to_numpy() == pytest.approx(mean)
    sd = np.sqrt((p * (centers - mean[:, None]) ** 2).sum(axis=1))
    assert both.predicted_age_sd.to_numpy() == pytest.approx(sd)
    total = both.probability_sex_F + both.probability_sex_M
    assert total.to_numpy() == pytest.approx(1)
    assert set(both.predicted_sex) <= {"F", "M"}


def test_blocks_are_layers_with_their_normalisation():
    found = blocks(build_network(SMALL))
    assert [len(block) for block in found] == [2, 2, 2, 1]
    assert found[-1][0].out_channels == 7


def test_frozen_blocks_do_not_learn():
    network = build_network(SMALL).train()
    freeze(network, 2)
    learning = [name for name, value in network.named_parameters() if value.requires_grad]
    assert not any("conv_0" in name or "conv_1" in name for name in learning)
    assert any("conv_2" in name for name in learning)
    assert not network.feature_extractor.conv_0[1].training
    assert network.feature_extractor.conv_2[1].training
    freeze(network.train(), 0)
    assert all(value.requires_grad for value in network.parameters())


def test_blocks_are_freed_by_stages():
    plan = recipe(freeze=3, unfreeze_every=2)
    assert [frozen_blocks(plan, epoch) for epoch in range(8)] == [3, 3, 2, 2, 1, 1, 0, 0]
    assert frozen_blocks(recipe(freeze=3), 100) == 3


def test_all_but_the_last_layer_is_taken_over():
    old = build_network(SMALL)
    for network, keep in ((build_network(SMALL), False), (build_network(SMALL), True)):
        taken = take_over(network, old.state_dict(), keep_head=keep)
        assert ("classifier.conv_3.weight" in taken) == keep
        assert torch.equal(network.feature_extractor.conv_0[0].weight,
                           old.feature_extractor.conv_0[0].weight)  # fmt: skip
    other = build_network({**SMALL, "parameters": {"channels": [4, 4, 4], "n_bins": 2}})
    assert "classifier.conv_3.weight" not in take_over(other, old.state_dict(), keep_head=True)


def test_frozen_weights_stay_as_they_started(tmp_path):
    people = toys(write_people(tmp_path))
    plan = recipe(freeze=1, epochs=2)
    old = build_network(plan.card["architecture"])
    what = dataclasses.replace(task(people, plan, tmp_path), start=Start(old.state_dict()))
    split = Split(np.arange(12), np.array([], int))
    new = train_network(what, split, folder=tmp_path, seed=1).state_dict()
    for name, value in old.state_dict().items():
        if name.startswith("feature_extractor.conv_0.") and "tracked" not in name:
            assert torch.allclose(new[name], value, atol=1e-6), name
    assert not torch.allclose(
        new["feature_extractor.conv_1.0.weight"],
        old.state_dict()["feature_extractor.conv_1.0.weight"],
    )


@pytest.mark.parametrize("identity", sorted(ARCHITECTURES))
def test_every_architecture_can_be_given_outputs(identity):
    try:
        chosen = with_outputs({"id": identity, "parameters": {}}, 3)
    except UsageError as error:
        assert "cannot be given" in str(error)
        return
    assert blocks(build_network(chosen))[-1][0].weight.shape[0] == 3


def test_unknown_architectures_are_refused():
    with pytest.raises(ResourceError, match=r"'resnet' is unknown. Known: .*sfcn"):
        with_outputs({"id": "resnet", "parameters": {}}, 3)


def test_two_stages_correct_the_first_age():
    plan = final_recipe(recipe(refine_years=5.0))
    network = build_network(plan.card["architecture"]).eval()
    x = torch.randn(2, 1, *plan.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for value in network.second.parameters():
            value.zero_()
        first = torch.softmax(network.first(x), dim=1) @ network.centers
        assert network(x)[:, 0] == pytest.approx(first.numpy(), abs=1e-4)
        blocks(network.second)[-1][0].bias.copy_(torch.tensor([1.0, 0.0]))
        assert network(x)[:, 0] == pytest.approx((first + 5.0).numpy(), abs=1e-4)
    assert plan.freeze == len(blocks(network.first))
    assert plan.card["output"]["coding"] == "scalar"
