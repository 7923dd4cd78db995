"""The Python interface: images without BIDS, results as values, the group level by one call."""

from bidsapp_brainage.api.levels import BrainAges, Group, group, predict, predict_all
from bidsapp_brainage.api.results import BrainAge, read

__all__ = ["BrainAge", "BrainAges", "Group", "group", "predict", "predict_all", "read"]
