"""Brain age with region-level explanations, as a BIDS App."""

__version__ = "0.1.0"
