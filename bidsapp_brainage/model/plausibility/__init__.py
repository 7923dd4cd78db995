"""Whether a result can be believed: how unlike the training people an image is, and flags."""
