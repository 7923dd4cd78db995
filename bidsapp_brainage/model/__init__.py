"""What a model card says, the network it names, and its prediction: no BIDS, no nipype."""
