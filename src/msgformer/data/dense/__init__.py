"""Data of dense prediction: code shared by detection and segmentation."""
