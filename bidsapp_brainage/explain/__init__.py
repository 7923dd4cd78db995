"""Why the network says what it says: occlusion of atlas regions, fills, and scores.

Plain numpy, pandas and torch functions; nothing here knows BIDS, nipype or file names.
"""
