"""Statistics of a sample: accuracy, regional contributions, models, repeatability.

Functions of arrays and data frames. Where a sample is too small for a figure, the figure is left
out of the table and a sentence says why; nothing becomes a silent NaN.
"""
