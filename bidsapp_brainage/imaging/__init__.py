"""Images in, images out: conforming, bias correction, registration, brain extraction, quality.

Plain functions over nibabel images; no nipype, no BIDS. World coordinates are RAS millimetres.
"""
