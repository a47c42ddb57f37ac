import numpy as np
import pytest

from msgformer.utils.spacing import evenly_spaced


@pytest.mark.parametrize("total", [2, 7, 8, 9, 15, 16, 359, 5000])
@pytest.mark.parametrize("max_count", [2, 8, 300])
def test_indices_span_the_sequence_evenly(total, max_count):
    found = evenly_spaced(total, max_count)
    assert len(found) == min(total, max_count)
    assert (found[0], found[-1]) == (0, total - 1)
    steps = np.diff(found)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


def test_short_sequences():
    assert evenly_spaced(0, 8) == []
    assert evenly_spaced(1, 8) == [0]
    assert evenly_spaced(9, 1) == [0]
