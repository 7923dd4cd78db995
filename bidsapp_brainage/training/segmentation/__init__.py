"""Training of the segmentation network on images made from label maps."""
