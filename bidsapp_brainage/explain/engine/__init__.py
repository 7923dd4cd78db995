"""Exact occlusion of many regions for the price of about two forward passes.

In eval mode a convolutional network is local: what changes in a region changes only a growing
neighbourhood of it. The engine computes one full pass, and for every region only the rows
(positions) that change, as differences. See ``docs/engine.md``.

    network = trace(module, (1, 160, 192, 160))
    plan = OcclusionPlan.from_labels(network, labels, range(1, 247))
    run = Run(plan, network, volume)
    (logits,) = run.occlude(0.0, workers=8)
"""

from .graph import Network, UnsupportedNetworkError
from .planning.plan import OcclusionPlan
from .reading.trace import trace
from .run import Run

__all__ = ["Network", "OcclusionPlan", "Run", "UnsupportedNetworkError", "trace"]
