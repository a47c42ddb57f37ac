"""Comparison of results."""

import numpy as np

FIELDS = ("probabilities", "boxes", "scores", "class_ids", "class_map", "masks", "error", "size")


def assert_same(found, expected, tolerance=1e-5):
    """Assert that results, or lists of them, have equal predictions; names of images may differ."""
    if isinstance(found, list):
        assert isinstance(expected, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, tolerance)
        return
    assert type(found) is type(expected)
    assert found.class_names == expected.class_names
    for name in FIELDS:
        if not hasattr(found, name):
            continue
        first, second = getattr(found, name), getattr(expected, name)
        if first is None or isinstance(first, str):
            assert first == second, name
        else:
            np.testing.assert_allclose(np.float64(first), np.float64(second), atol=tolerance, rtol=tolerance)
