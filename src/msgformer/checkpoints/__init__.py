"""Checkpoints of trained models: models created from them, and folders in the layout of timm and its Hub."""
