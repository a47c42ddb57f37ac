"""What detection and segmentation data share."""
