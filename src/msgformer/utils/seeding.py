"""Randomness as a function of a few numbers, so that nothing has to be remembered to repeat it.

Data is drawn from (seed, epoch, index) and the model's randomness from (seed, epoch, step): a run that is stopped
and resumed, with any number of workers, is then the same run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


def derive(*numbers: int) -> int:
    """A 32-bit seed mixed from non-negative numbers; near numbers give unrelated seeds."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_generators(seed: int) -> None:
    """Set the global CPU generators of Python, NumPy and torch.

    Accelerators are left alone: a data set that is read in the main process must not disturb them.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global CPU generators that start from ``seed`` inside the block and are put back after it."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_generators(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
