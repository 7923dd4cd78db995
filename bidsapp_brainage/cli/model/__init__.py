"""The commands of ``brainage-model``."""
