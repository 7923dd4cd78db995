"""The engine compared with full forward passes on one random case."""

from __future__ import annotations

import torch

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace

from .random_networks import Builder


def occluded(volume, mask, fill):
    return torch.where(torch.from_numpy(mask), fill, volume)


def full_logits(net, volume):
    with torch.no_grad():
        heads = net(volume[None])
    return [part[0] for part in (heads if isinstance(heads, tuple) else (heads,))]


def worst(logits, expected, scale):
    return max(
        float((a - b).abs().max()) / max(scale, 1.0) if a.numel() else 0.0
        for a, b in zip(logits, expected, strict=True)
    )


def case(seed):
    builder = Builder(seed)
    net = builder.network().double()
    volume = torch.randn(builder.shape, dtype=torch.float64)
    return builder, net, volume, builder.masks(), builder.fill(torch.float64)


def check(seed: int) -> float:
    """Worst error of one random case, relative to the size of the logits."""
    builder, net, volume, masks, fill = case(seed)
    network = trace(net, builder.shape)
    plan = OcclusionPlan.from_masks(
        network,
        masks,
        chunk_regions=builder.rng.choice([1, 3, 16]),
        block_bytes=builder.rng.choice([8, 8000, 8 << 20]),
        kept_bytes=builder.rng.choice([0, 1 << 20]),
        form=builder.rng.choice([None, "tiles", "boxes"]),
        small_grid=builder.rng.choice([0, 40, 1 << 14]),
    )
    run = Run(plan, network, volume)
    intact = full_logits(net, volume)
    scale = max(float(part.abs().max()) for part in intact)
    errors = [worst(run.logits, intact, scale)]
    first = run.occlude(fill, workers=1 + seed % 2)
    for k, mask in enumerate(masks):
        expected = full_logits(net, occluded(volume, mask, fill))
        errors.append(worst([part[k] for part in first], expected, scale))
    both = occluded(occluded(volume, masks[0], fill), masks[1], fill)
    run.commit(0, fill)
    errors.append(worst(run.commit(1, fill), full_logits(net, both), scale))
    third = run.occlude(fill, [2])
    expected = full_logits(net, occluded(both, masks[2], fill))
    errors.append(worst([part[0] for part in third], expected, scale))
    run.undo()
    run.undo()
    again = run.occlude(fill)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    return max(errors)
