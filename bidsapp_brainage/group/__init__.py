"""The group level: gather the derivatives of all participants, summarise, write tables.

Nothing here reads raw data, runs a network or needs a GPU.
"""
