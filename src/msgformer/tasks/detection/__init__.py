"""The task of detection."""
