"""Common code of detection and segmentation."""
